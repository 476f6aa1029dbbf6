"""What a client checks, cuts and asks for, before any protocol."""

import numpy as np
import pytest

from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.transport import OUTPUTS, ServingError
from served_cases import SHAPE, Waits, encode_file
from testing import random_images

ROW_BYTES = int(np.prod(SHAPE))


class FakeTransport:
    """Answers each row with its first number; records what came."""

    def __init__(self, shape=(None, *SHAPE)):
        self.shape = shape
        self.calls = []
        self.timeouts = []
        self.errors = []
        self.lost_rows = 0
        self.closed = False

    def predict(self, signature, inputs, timeout):
        rows = {len(array) for array in inputs.values()}
        assert len(rows) == 1
        self.calls.append((signature, inputs))
        self.timeouts.append(timeout)
        if self.errors:
            raise self.errors.pop(0)
        first = next(iter(inputs.values()))
        numbers = [len(row) if first.dtype == object else row.flat[0] for row in first]
        kept = len(numbers) - self.lost_rows
        return {n: np.array(numbers[:kept], dtype) for n, dtype in OUTPUTS[signature].items()}

    def status(self, timeout):
        self.timeouts.append(timeout)
        return {3: "AVAILABLE"}

    def input_shapes(self, signature, timeout):
        self.calls.append(("input_shapes", signature))
        self.timeouts.append(timeout)
        return {"images": self.shape}

    def close(self):
        self.closed = True

    def rows(self):
        return [len(next(iter(inputs.values()))) for _, inputs in self.calls]


def new_client(transport, **settings):
    return ServingClient(transport, **{"image_shape": SHAPE, **settings})


def test_rows_are_cut_by_number_and_joined_in_order():
    transport, images = FakeTransport(), random_images(11, SHAPE)
    found = new_client(transport, max_batch_size=4).log_prob(images)
    np.testing.assert_array_equal(found, images[:, 0, 0, 0])
    assert transport.rows() == [4, 4, 3]


def test_a_full_last_request_is_not_followed_by_an_empty_one():
    transport = FakeTransport()
    new_client(transport, max_batch_size=4).encode(random_images(8, SHAPE))
    assert transport.rows() == [4, 4]


def test_rows_are_cut_by_bytes():
    transport = FakeTransport()
    client = new_client(transport, max_message_bytes=3 * ROW_BYTES + 1)
    client.bits_per_dim(random_images(7, SHAPE))
    assert transport.rows() == [3, 3, 1]
    transport.calls.clear()
    with pytest.raises(
        RequestError, match="`max_message_bytes`"
    ):  # Latents are four times as long.
        client.decode(np.zeros((7, *SHAPE)))
    assert not transport.calls


def test_by_default_no_message_is_larger_than_grpc_takes():
    transport, shape = FakeTransport(), (256, 256, 3)
    new_client(transport, image_shape=shape).log_prob(np.zeros((64, *shape), np.uint8))
    assert transport.rows() == [21, 21, 21, 1]
    assert 22 * 256 * 256 * 3 > 4 * 2**20


def test_files_are_cut_by_their_own_sizes():
    transport = FakeTransport()
    file = encode_file(random_images(1, SHAPE)[0])
    padded = file + bytes(1000)  # Bytes behind the end of a file are nobody's.
    limit = len(padded) + len(file) + 40
    client = new_client(transport, max_message_bytes=limit)
    found = client.score_encoded([file, padded, padded, file, file]).log_prob
    assert found.tolist() == [len(f) for f in (file, padded, padded, file, file)]
    assert transport.rows() == [2, 2, 1]
    transport.calls.clear()
    with pytest.raises(RequestError, match="`max_message_bytes`.*row 1 has"):
        client.score_encoded([file, file + bytes(5000)])
    assert not transport.calls


def test_samples_do_not_depend_on_how_they_are_cut():
    whole, cut = FakeTransport(), FakeTransport()
    new_client(whole).sample(7, seed=3, temperature=0.5)
    new_client(cut, max_batch_size=2).sample(7, seed=3, temperature=0.5)
    (_, inputs) = whole.calls[0]
    assert inputs["seed"].dtype == np.int32 and inputs["temperature"].dtype == np.float32
    assert inputs["seed"].tolist() == [[3, i] for i in range(7)]
    assert inputs["temperature"].tolist() == [0.5] * 7
    for name in ("seed", "temperature"):
        parts = [part[name] for _, part in cut.calls]
        assert len(parts) == 4
        np.testing.assert_array_equal(np.concatenate(parts), inputs[name])


def test_every_attempt_has_the_deadline_and_the_name_log_prob():
    transport = FakeTransport()
    transport.errors = [ServingError("UNAVAILABLE", "busy")]
    client = ServingClient(transport, timeout=7.5, retries=Waits().retries())
    client.status()
    client.log_prob(random_images(1, SHAPE))
    client.bits_per_dim(random_images(1, SHAPE))
    assert transport.timeouts == [7.5] * 5
    assert [name for name, _ in transport.calls] == ["input_shapes", *["log_prob"] * 3]


def test_only_the_request_that_failed_is_sent_again():
    transport, images = FakeTransport(), random_images(4, SHAPE)
    client = new_client(transport, max_batch_size=2, retries=Waits().retries())
    transport.errors = [ServingError("INTERNAL", "somebody else's")]
    np.testing.assert_array_equal(client.log_prob(images), images[:, 0, 0, 0])
    sent = [inputs["images"][0, 0, 0, 0] for _, inputs in transport.calls]
    assert sent == [images[i, 0, 0, 0] for i in (0, 0, 2)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_integers_from_0_to_255_are_pixels(dtype):
    transport = FakeTransport()
    images = random_images(2, SHAPE)
    images[0, 0, 0, :2] = 0, 255
    new_client(transport).log_prob(images.astype(dtype))
    assert transport.calls[0][1]["images"].dtype == np.uint8
    np.testing.assert_array_equal(transport.calls[0][1]["images"], images)


PIXELS = random_images(2, SHAPE).astype(np.int32)
LATENTS = np.zeros((2, *SHAPE), np.float32)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("log_prob", [PIXELS / 255], "`images` must be uint8.*got dtype float64"),
        ("log_prob", [PIXELS > 7], "`images` must be uint8.*got dtype bool"),
        ("log_prob", [PIXELS + 45], "integers from 0 to 255; got"),
        ("bits_per_dim", [PIXELS - 256], "integers from 0 to 255; got -256 to"),
        ("encode", [PIXELS[0]], r"`images` must have the shape \[N, 4, 6, 3\].*got \[4, 6, 3\]"),
        ("encode", [PIXELS[:, :, :, :1]], r"got \[2, 4, 6, 1\]"),
        ("log_prob", [PIXELS[:0]], r"N at least 1; got \[0, 4, 6, 3\]"),
        ("log_prob", [np.uint8(3)], r"got \[\]"),
        ("decode", [PIXELS], "`latents` must be floats; got dtype int32"),
        ("decode", [LATENTS[:, :3]], r"`latents` must have the shape .*got \[2, 3, 6, 3\]"),
        ("decode", [LATENTS + np.nan], "`latents` must be finite"),
        ("decode", [LATENTS + np.float64(1e39)], "`latents` must be finite as float32"),
        ("sample", [0], "`num` must be between 1 and"),
        ("sample", [2, 2**31], "`seed` must be between -2147483648 and 2147483647; got 21"),
        ("sample", [2, 0, 2.1], "`temperature` must be between 0 and 2; got 2.1"),
        ("sample", [2, 0, -0.1], "`temperature` must be between 0 and 2; got -0.1"),
        ("sample", [2, 0, float("nan")], "`temperature` must be between 0 and 2; got nan"),
        ("sample", [3, 0, [1.0, 1.0]], r"one number or 3; got shape \[2\]"),
        ("score_encoded", [[]], "`files` must hold at least one file"),
        ("score_encoded", [["a.png"]], "`files` must hold bytes; got str at 0"),
        ("score_encoded", [[b"GIF89a..."]], "`files` at 0: must be a PNG or a JPEG file"),
    ],
)
def test_a_bad_request_is_refused_and_not_sent(method, arguments, message):
    transport = FakeTransport()
    with pytest.raises(RequestError, match=message):
        getattr(new_client(transport), method)(*arguments)
    assert not transport.calls


@pytest.mark.parametrize(
    "settings", [{"max_batch_size": 0}, {"max_message_bytes": 0}, {"timeout": 0.0}]
)
def test_settings_have_rules(settings):
    (name,) = settings
    with pytest.raises(RequestError, match=f"`{name}` must be"):
        ServingClient(FakeTransport(), **settings)


def test_the_server_is_asked_for_the_shape_once():
    transport = FakeTransport()
    client = ServingClient(transport)
    for _ in range(2):
        client.log_prob(random_images(1, SHAPE))
    assert [name for name, _ in transport.calls].count("input_shapes") == 1


@pytest.mark.parametrize("shape", [None, (None, 4, 6), (None, None, 6, 3)])
def test_a_model_that_states_no_shape_is_none_of_ours(shape):
    with pytest.raises(ServingError, match=r"must state images \[N, H, W, C\]"):
        ServingClient(FakeTransport(shape)).log_prob(random_images(1, SHAPE))


def test_an_answer_of_other_rows_is_refused():
    transport = FakeTransport()
    transport.lost_rows = 1
    with pytest.raises(ServingError, match=r"`log_prob` with 3 rows; got shape \[2\]"):
        new_client(transport).log_prob(random_images(3, SHAPE))


def test_the_end_closes_the_transport():
    transport = FakeTransport()
    with new_client(transport):
        assert not transport.closed
    assert transport.closed
