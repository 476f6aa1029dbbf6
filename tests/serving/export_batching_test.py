"""The stand-in's batching keeps the rules of the server's, and the client copes with them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from batching_stand_in import (
    FAILED_PRECONDITION,
    INTERNAL,
    INVALID_ARGUMENT,
    UNAVAILABLE,
    Batching,
    StandInError,
    Task,
    run_merged,
)
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.retry import Retries
from lcma_tf.serving.client.transport import ServingError

LONG = 60.0  # Seconds: a batch that is not full waits for company as long as a test can last.
SHAPE = (2, 3, 1)


class Adder:
    """A model of two outputs; numbers above 200 are refused. Records what it ran."""

    def __init__(self):
        self.runs = []
        self.batching: Batching | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, signature, inputs, outputs):
        self.runs.append((signature, len(inputs["images"]), tuple(outputs)))
        assert self.gate.wait(LONG)
        if self.batching:  # What comes after the first batch is not kept waiting.
            self.batching.timeout = 0.0
        images = inputs["images"].astype(np.float32)
        if (images > 200).any():
            raise StandInError(INVALID_ARGUMENT, "above 200")
        total = images.sum(axis=(1, 2, 3))
        answers = {"log_prob": -total, "bits_per_dim": total / 8}
        return {name: answers[name] for name in outputs}


def images(*values):
    return np.stack([np.full(SHAPE, value, np.uint8) for value in values])


OUTPUTS = ("log_prob", "bits_per_dim")


def call(batching, *values, outputs=OUTPUTS):
    return batching.call("log_prob", {"images": images(*values)}, outputs)


@pytest.fixture
def adder():
    return Adder()


@pytest.fixture
def batching(adder):
    """Of four rows, the first of which waits until it is full."""
    adder.batching = batching = Batching(adder, max_batch_size=4, timeout=LONG)
    yield batching
    batching.close()


def together(*calls):
    """The results or errors of calls that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(one) for one in calls]
        return [future.exception(LONG) or future.result() for future in futures]


def wait_until(happened):
    deadline = time.monotonic() + LONG
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_merged_requests_get_their_own_rows(adder, batching):
    first, second, third = together(
        lambda: call(batching, 1), lambda: call(batching, 2, 3), lambda: call(batching, 4)
    )
    assert first["log_prob"].tolist() == [-6]
    assert second["log_prob"].tolist() == [-12, -18]
    assert second["bits_per_dim"].tolist() == [12 / 8, 18 / 8]
    assert third["log_prob"].tolist() == [-24]
    assert [run[1] for run in adder.runs] == [4]
    assert sorted(batching.batches[0][1]) == [1, 1, 2]


def test_a_request_is_never_cut(adder, batching):
    def after_the_first():
        wait_until(lambda: batching._queues)
        return call(batching, 4, 5)

    found = together(lambda: call(batching, 1, 2, 3), after_the_first)
    assert [len(one["log_prob"]) for one in found] == [3, 2]
    assert [run[1] for run in adder.runs] == [3, 2]


def test_other_outputs_are_another_queue(adder, batching):
    """So an output_filter keeps requests apart that could be merged."""
    adder.batching = None
    batching.timeout = 0.3
    both, one = together(
        lambda: call(batching, 1, 2), lambda: call(batching, 3, 4, outputs=("log_prob",))
    )
    assert list(both) == ["bits_per_dim", "log_prob"] and list(one) == ["log_prob"]
    assert sorted((rows, len(outputs)) for _, rows, outputs in adder.runs) == [(2, 1), (2, 2)]


def test_a_lonely_request_runs_after_the_timeout(adder, batching):
    batching.timeout = 0.05
    assert call(batching, 5)["log_prob"].tolist() == [-30]


def test_an_empty_request_gets_no_rows(adder, batching):
    empty = np.zeros((0, *SHAPE), np.uint8)
    none, four = together(
        lambda: batching.call("log_prob", {"images": empty}, OUTPUTS),
        lambda: call(batching, 1, 2, 3, 4),
    )
    assert none["log_prob"].shape == (0,)
    assert four["log_prob"].tolist() == [-6, -12, -18, -24]


def test_requests_that_cannot_be_merged_are_refused_alone(adder, batching):
    for inputs, message in (
        ({"images": np.uint8(3)}, "at least one dimension"),
        ({"images": images(1), "seed": images(1, 2)}, "equal 0th-dim"),
        ({"images": images(1, 2, 3, 4, 5)}, "Task size 5 is larger than maximum"),
    ):
        with pytest.raises(StandInError, match=message) as refused:
            batching.call("log_prob", inputs, OUTPUTS)
        assert refused.value.code == INVALID_ARGUMENT
    assert not adder.runs


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (np.zeros((1, 3, 3, 1), np.uint8), FAILED_PRECONDITION),
        (np.zeros((1, *SHAPE), np.int32), INTERNAL),
        (images(201), INVALID_ARGUMENT),
    ],
)
def test_one_bad_request_spoils_the_batch(adder, batching, other, code):
    errors = together(
        lambda: call(batching, 1, 2, 3),
        lambda: batching.call("log_prob", {"images": other}, OUTPUTS),
    )
    assert [error.code for error in errors] == [code, code]


@pytest.mark.parametrize("answer", [np.float32(1), np.zeros(1, np.float32)])
def test_outputs_without_a_row_for_each_row_fail_all(answer):
    tasks = [Task({"images": images(1)}, 1), Task({"images": images(2)}, 1)]
    run_merged(lambda *_: {"log_prob": answer}, "log_prob", ["log_prob"], tasks)
    assert [task.answer.exception().code for task in tasks] == [FAILED_PRECONDITION] * 2


def test_a_full_queue_refuses(adder):
    batching = Batching(adder, max_batch_size=1, max_enqueued_batches=2)
    adder.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(call, batching, 1)
        wait_until(lambda: adder.runs)
        waiting = [pool.submit(call, batching, value) for value in (2, 3)]
        wait_until(lambda: len(next(iter(batching._queues.values()))) == 2)
        with pytest.raises(StandInError, match="full") as refused:
            call(batching, 4)
        assert refused.value.code == UNAVAILABLE
        adder.gate.set()
        assert [one.result()["log_prob"][0] for one in (running, *waiting)] == [-6, -12, -18]
    batching.close()


STATUSES = {3: "INVALID_ARGUMENT", 9: "FAILED_PRECONDITION", 13: "INTERNAL"}


class DirectTransport:
    """A `Transport` into a `Batching`, without a server between."""

    def __init__(self, batching):
        self._batching = batching

    def predict(self, signature, inputs, timeout):
        try:
            return self._batching.call(signature, inputs, OUTPUTS)
        except StandInError as error:
            raise ServingError(STATUSES[error.code], str(error)) from error


@pytest.mark.parametrize(
    "other", [np.zeros((1, 3, 3, 1), np.uint8), np.zeros((1, *SHAPE), np.int32), images(201)]
)
def test_the_client_outlives_a_batch_that_another_spoiled(adder, batching, other):
    waits = []

    def sleep(seconds):
        batching.timeout = 0.0  # The second time it is alone; waiting would be in vain.
        waits.append(seconds)

    client = ServingClient(
        DirectTransport(batching), image_shape=SHAPE, retries=Retries(attempts=1, sleep=sleep)
    )
    found, error = together(
        lambda: client.log_prob(images(1, 2, 3)),
        lambda: batching.call("log_prob", {"images": other}, OUTPUTS),
    )
    assert isinstance(error, StandInError)
    assert found.tolist() == [-6, -12, -18]
    assert batching.batches[1] == ("log_prob", [3])
    assert len(waits) == 1


@pytest.mark.parametrize("num_batch_threads", [1, 2])
def test_no_more_batches_run_at_once_than_there_are_threads(num_batch_threads):
    running, most, lock = 0, 0, threading.Lock()

    def run(signature, inputs, outputs):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return {name: inputs["images"] for name in outputs}

    batching = Batching(run, 4, num_batch_threads=num_batch_threads)
    images = np.ones((1, *SHAPE), np.float32)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda i: batching.call(f"signature {i % 4}", {"images": i * images}, ["same"]),
            range(64),
        )
        for i, answer in enumerate(answers):
            np.testing.assert_array_equal(answer["same"], i * images)
    batching.close()
    assert 1 <= most <= num_batch_threads
    assert sum(len(rows) for _, rows in batching.batches) == 64
