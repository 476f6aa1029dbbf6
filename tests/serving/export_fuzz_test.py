"""Whatever is sent: an error status or a right answer, and the next request is answered as before.

LCMA_FUZZ_REQUESTS says how many are sent (10,000 take a minute); by default as many as fit into CI.
LCMA_FUZZ_THREADS says by how many at once.
"""

import concurrent.futures
import io
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from lcma_tf.serving.runtime.cpp_session import Code, CppSessionError
from saved_flows import opened_flow
from testing import assert_same_in_any_batch, random_images

REQUESTS = int(os.environ.get("LCMA_FUZZ_REQUESTS", "1000"))
THREADS = int(os.environ.get("LCMA_FUZZ_THREADS", "4"))
ONEDNN = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
ALLOWED_GROWTH_MIB = 64
SHAPE = (8, 8, 3)
IMAGES = random_images(8, SHAPE)
SIZES = (0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 1000)
DTYPES = (np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_, object)
ODD_FLOATS = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0, 0.0, 2.0, 2.0000002, -1e-7, 1.0)


def encode(image, kind, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


FILES = [encode(image, "PNG") for image in IMAGES] + [
    encode(image, "JPEG", quality=quality, progressive=progressive)
    for image, quality, progressive in zip(
        IMAGES, range(20, 100, 10), [False, True] * 4, strict=True
    )
]


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png_bomb(rng):
    """A small file that claims, and holds, a large image; or claims the right size and holds more."""
    side = int(rng.choice([8, 4_000]))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(200_000 if side == 8 else side * 40))
    return FILES[0][:8] + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_bomb(rng):
    """A JPEG whose frame header claims up to 65,535 pixels a side."""
    data = bytearray(FILES[-1])
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    struct.pack_into(">HH", data, at + 5, *rng.integers(1, 65_536, 2).tolist())
    return bytes(data)


def torn(rng):
    data = bytearray(FILES[rng.integers(len(FILES))])
    for _ in range(rng.integers(1, 6)):
        match rng.integers(5):
            case 0:
                del data[rng.integers(len(data) + 1) :]
            case 1 if data:
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
            case 2:
                data += rng.bytes(int(rng.integers(1, 50)))
            case 3 if len(data) > 30:
                at = int(rng.integers(len(data) - 8))
                data[at : at + 4] = rng.bytes(4)
            case 4:
                data += FILES[rng.integers(len(FILES))]
    return bytes(data)


def file(rng):
    makers = (torn, torn, torn, png_bomb, jpeg_bomb, lambda rng: rng.bytes(int(rng.integers(60))))
    return makers[rng.integers(len(makers))](rng)


def shape(rng, right):
    """`right` with some of its sizes changed, or another rank."""
    sizes = [int(rng.choice(SIZES)) if rng.random() < 0.3 else size for size in right]
    match rng.integers(8):
        case 0:
            sizes = sizes[: rng.integers(len(sizes) + 1)]
        case 1:
            sizes.insert(int(rng.integers(len(sizes) + 1)), int(rng.choice(SIZES)))
    while np.prod(sizes, dtype=np.int64) > 3_000_000:  # What a client may send at all.
        sizes[int(np.argmax(sizes))] = 2
    return sizes


def array(rng, right, dtype):
    """Mostly of the right dtype."""
    if rng.random() < 0.2:
        dtype = DTYPES[rng.integers(len(DTYPES))]
    sizes = shape(rng, right)
    if dtype is object:
        values = np.empty(sizes, object)
        for index in np.ndindex(*sizes) if values.size < 1_000 else ():
            values[index] = file(rng)
        return values if values.size < 1_000 else np.array([file(rng)], object)
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    values = rng.integers(low, high, sizes) if dtype == np.int32 else rng.integers(0, 200, sizes)
    values = values.astype(dtype)
    if np.dtype(dtype).kind == "f" and values.size and rng.random() < 0.7:
        values = (values / 100).astype(dtype)
        with np.errstate(over="ignore"):
            values.flat[rng.integers(values.size)] = dtype(rng.choice(ODD_FLOATS))
    return values


def request(rng):
    rows = int(rng.choice([1, 2, 5]))
    image = [rows, *SHAPE]
    makers = {
        "log_prob": lambda: {"images": array(rng, image, np.uint8)},
        "serving_default": lambda: {"images": array(rng, image, np.uint8)},
        "encode": lambda: {"images": array(rng, image, np.uint8)},
        "log_prob_encoded": lambda: {"image_bytes": array(rng, [rows], object)},
        "decode": lambda: {"latents": array(rng, image, np.float32)},
        "sample": lambda: {
            "seed": array(rng, [rows, 2], np.int32),
            "temperature": array(rng, [rows], np.float32),
        },
        "no_such_signature": lambda: {"images": IMAGES},
    }
    weights = np.array([2, 1, 2, 4, 3, 3, 0.2])
    signature = str(rng.choice(list(makers), p=weights / weights.sum()))
    inputs = makers[signature]()
    if rng.random() < 0.03:
        inputs["surplus"] = IMAGES
    elif rng.random() < 0.03:
        inputs.popitem()
    return signature, inputs


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with opened_flow(SHAPE, tmp_path_factory.mktemp("export")) as session:
        yield session


def resident_mib():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def send(session, seed, good):
    """Sends one request, checks the answer, and that a good one is answered as ever; was it answered?"""
    signature, inputs = request(np.random.default_rng(seed))
    what = (seed, signature, {k: (v.dtype, np.shape(v)) for k, v in inputs.items()})
    try:
        answer = session.run(signature, inputs)
    except CppSessionError as error:
        assert error.code in (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION), (what, error)
        answer = None
    if answer is not None:
        rows = {len(value) for value in (*inputs.values(), *answer.values())}
        assert len(rows) == 1 and 1 <= rows.pop() <= 64, what
        for name, values in answer.items():
            assert values.dtype != np.float32 or np.isfinite(values).all(), (what, name)
        check_values(session, signature, inputs, answer, what)
    again = session.run("log_prob", {"images": IMAGES})["log_prob"]
    np.testing.assert_array_equal(again, good, err_msg=str(what))
    return answer is not None


def check_values(session, signature, inputs, answer, what):
    """A row's answer must be what it is alone, rounding apart: kernels may differ by batch size."""
    if signature == "log_prob_encoded":
        pixels = np.stack([pixels_of(data) for data in inputs["image_bytes"]])
        expected = session.run("log_prob", {"images": pixels})
    else:
        last = {name: value[-1:] for name, value in inputs.items()}
        answer = {name: value[-1:] for name, value in answer.items()}
        expected = session.run(signature, last)
    for name, value in answer.items():
        assert_same_in_any_batch(value, expected[name], str((what, name)))


def pixels_of(data):
    if data.startswith(b"\x89PNG"):
        return tf.io.decode_png(data, channels=3).numpy()
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()


def test_whatever_is_sent_is_refused_or_answered_rightly(session):
    good = session.run("log_prob", {"images": IMAGES})["log_prob"]
    warm_up = REQUESTS // 4  # Until allocators have what they keep, of each thread.
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        answered = sum(pool.map(lambda seed: send(session, seed, good), range(warm_up)))
        before = resident_mib()
        seeds = range(warm_up, REQUESTS)
        answered += sum(pool.map(lambda seed: send(session, seed, good), seeds))
    assert resident_mib() - before < ALLOWED_GROWTH_MIB
    # Neither all refused nor all let through: the requests are worth something.
    assert 0.05 * REQUESTS < answered < 0.8 * REQUESTS


@pytest.mark.skipif(ONEDNN == "0", reason="this is the process that it starts")
def test_the_same_without_onednn():
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            __file__,
            "-k",
            "whatever",
        ],
        env={
            **os.environ,
            "TF_ENABLE_ONEDNN_OPTS": "0",
        },
        cwd=pathlib.Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]


def test_bombs_are_refused_before_they_are_decoded(session):
    """A thousand of them, each of which would take 48 MB or more."""
    rng = np.random.default_rng(0)
    before = resident_mib()
    for number in range(1_000):
        data = jpeg_bomb(rng) if number % 2 else png_bomb(rng)
        try:
            answer = session.run("log_prob_encoded", {"image_bytes": np.array([data], object)})
            np.testing.assert_array_equal(np.isfinite(answer["log_prob"]), [True])
        except CppSessionError as error:
            assert error.code == Code.INVALID_ARGUMENT
    assert resident_mib() - before < ALLOWED_GROWTH_MIB


def test_a_giant_batch_is_refused_before_it_is_computed(session):
    """What a proto of some bytes can unfold to on a server."""
    seen = []
    for _ in range(4):
        for signature, name, dtype in (
            ("log_prob", "images", np.uint8),
            ("decode", "latents", np.float32),
        ):
            with pytest.raises(CppSessionError, match="must have 1 to 64 rows") as caught:
                session.run(signature, {name: np.zeros((100_000, *SHAPE), dtype)})
            assert caught.value.code == Code.INVALID_ARGUMENT
        seen.append(resident_mib())
    # The first may leave what an allocator keeps for the next.
    assert max(seen[1:]) - seen[0] < ALLOWED_GROWTH_MIB
