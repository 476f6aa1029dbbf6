"""Which refusals are answered by another attempt, how often, and after which waits."""

import pytest

from lcma_tf.serving.client.retry import Retries
from lcma_tf.serving.client.transport import ServingError
from served_cases import Waits


def failing(*statuses):
    """Fails with one status after another, then answers; and a list of the attempts."""
    attempts, left = [], list(statuses)

    def send():
        attempts.append(1)
        if left:
            raise ServingError(left.pop(0), "no")
        return "answer"

    return send, attempts


@pytest.mark.parametrize(
    "statuses",
    [
        (),
        ("UNAVAILABLE",) * 3,
        ("RESOURCE_EXHAUSTED", "UNAVAILABLE"),
        ("INVALID_ARGUMENT",),
        ("FAILED_PRECONDITION",),
        ("INTERNAL",),
        # One for the batch, three for the crowd, in whatever order.
        ("UNAVAILABLE", "INVALID_ARGUMENT", "UNAVAILABLE", "UNAVAILABLE"),
    ],
)
def test_another_attempt_helps(statuses):
    waits = Waits()
    send, attempts = failing(*statuses)
    assert waits.retries(attempts=4).call(send) == "answer"
    assert len(attempts) == len(statuses) + 1
    assert len(waits) == len(statuses)


@pytest.mark.parametrize(
    ("statuses", "num_attempts"),
    [
        (("UNAVAILABLE",) * 9, 4),
        (("INVALID_ARGUMENT",) * 9, 2),
        (("INVALID_ARGUMENT", "INTERNAL"), 2),
        (("INVALID_ARGUMENT", "UNAVAILABLE", "FAILED_PRECONDITION"), 3),
        (("NOT_FOUND",), 1),
        (("DEADLINE_EXCEEDED",), 1),
        (("UNAVAILABLE", "NOT_FOUND"), 2),
    ],
)
def test_attempts_end(statuses, num_attempts):
    send, attempts = failing(*statuses)
    with pytest.raises(ServingError) as last:
        Waits().retries(attempts=4).call(send)
    assert len(attempts) == num_attempts
    assert last.value.status == statuses[num_attempts - 1]


def test_what_must_fail_again_is_not_tried_again():
    waits = Waits()

    def send():
        raise ServingError("RESOURCE_EXHAUSTED", "larger than max", final=True)

    with pytest.raises(ServingError):
        waits.retries().call(send)
    assert not waits


@pytest.mark.parametrize(("number", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_waits_double_up_to_the_longest_and_are_spread(number, share):
    waits = []
    retries = Retries(7, 1.0, 10.0, random=lambda: number, sleep=waits.append)
    retries.call(failing(*["UNAVAILABLE"] * 6)[0])
    assert waits == [share * wait for wait in (1, 2, 4, 8, 10, 10)]


def test_other_errors_pass():
    def send():
        raise KeyError("a mistake of ours")

    with pytest.raises(KeyError):
        Waits().retries().call(send)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"attempts": 0}, "attempts"),
        ({"first_wait": -1}, "first_wait"),
        ({"longest_wait": 0.1}, ""),
    ],
)
def test_settings_have_rules(settings, name):
    with pytest.raises(ValueError, match=f"`{name}"):
        Retries(**settings)
