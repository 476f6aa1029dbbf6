"""An array's place in memory is no part of it: every layout of the same values gets the same answer.

The values come back through a session untouched (`every`) and computed on (`scale`), in sizes that
allocators hand out again at once and in ones that they give back to the system.
"""

import numpy as np
import pytest

import plain_saved_models
from lcma_tf.serving.runtime.cpp_session import CppSession, CppSessionError

# Rows of the arrays: some hundred bytes, some kB, some MB.
ROWS = (1, 6, 300, 10_000)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = plain_saved_models.save(tmp_path_factory.mktemp("plain") / "1")
    with CppSession(path) as session:
        yield session


def strided(values, step):
    """Every `step`-th row of a larger array; its other rows are other numbers."""
    larger = np.full((abs(step) * len(values), *values.shape[1:]), 1, values.dtype)
    larger[::step] = values
    return larger[::step]


def inner_strided(values):
    larger = np.full((*values.shape[:-1], 2 * values.shape[-1] + 1), 1, values.dtype)
    larger[..., 1::2] = values
    return larger[..., 1::2]


def unaligned(values):
    """A field of records, at an odd address."""
    records = np.zeros(values.shape, [("before", np.uint8), ("value", values.dtype)])
    records["value"] = values
    return records["value"]


def read_only(values):
    copy = values.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = {
    "as it is": lambda values: values,
    "every second row": lambda values: strided(values, 2),
    "rows backwards": lambda values: strided(values, -1),
    "every third row backwards": lambda values: strided(values, -3),
    "every second of the last axis": inner_strided,
    "Fortran's order": np.asfortranarray,
    "transposed": lambda values: values.transpose().copy().transpose(),
    "axes swapped": lambda values: values.swapaxes(0, -1).copy().swapaxes(0, -1),
    "unaligned": unaligned,
    "read-only": read_only,
    "of the other byte order": lambda values: values.astype(values.dtype.newbyteorder()),
    "behind a part": lambda values: np.concatenate([values[:1], values])[1:],
    "of a masked array": np.ma.masked_array,
    "of a list": lambda values: [*values],
}


def sent(session, layout, values):
    """What comes back of images `[N, 2, 3, 3]` in a layout, whose own values must not change."""
    images = LAYOUTS[layout](values)
    before = np.array(images, copy=True)
    answer = session.run("scale", {"images": images})
    np.testing.assert_array_equal(images, before)
    return answer


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rows", ROWS)
def test_images_of_every_layout_are_the_same_images(session, layout, rows):
    rng = np.random.default_rng(rows)
    for _ in range(4):  # What was freed is taken again by the next.
        values = rng.integers(0, 256, (rows, 2, 3, 3), np.uint8)
        answer = sent(session, layout, values)
        np.testing.assert_array_equal(answer["same"], values, strict=True)
        np.testing.assert_array_equal(answer["total"], 0.5 * values.sum((1, 2, 3)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [name for name in plain_saved_models.EVERY if name != "string"])
def test_every_dtype_of_every_layout(session, layout, dtype):
    rng = np.random.default_rng(0)
    for rows in ROWS:
        values = rng.integers(0, 2**15, rows).astype(dtype)
        inputs = {name: np.resize(array, rows) for name, array in plain_saved_models.EVERY.items()}
        answer = session.run("every", {**inputs, dtype: LAYOUTS[layout](values)})
        np.testing.assert_array_equal(answer[f"{dtype}_again"], values, strict=True)


def test_strings_of_every_layout(session):
    texts = np.array([[b"a" * 40, b"b\0"], ["\u00e9", b""], [b"c", bytes(range(256))]], object)
    expected = [t.encode() if isinstance(t, str) else t for t in texts[:, 0]]
    for layout in (texts[:, 0], np.asfortranarray(texts)[:, 0], texts.T[0], [*texts[:, 0]]):
        twice = session.run("text", {"text": layout})["twice"]
        assert twice.tolist() == [text + text for text in expected]
    backwards = session.run("text", {"text": texts[::-1, 1]})["twice"].tolist()
    assert backwards == [bytes(range(256)) * 2, b"", b"b\0b\0"]


def test_broadcast_arrays_are_as_large_as_they_look(session):
    images = np.broadcast_to(plain_saved_models.IMAGES, (200_000, 2, 3, 3))
    answer = session.run("scale", {"images": images})
    np.testing.assert_array_equal(answer["same"], images)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_rows_of_any_layout(session, layout):
    if layout == "of a list":
        pytest.skip("An empty list has no shape.")
    values = np.zeros((0, 2, 3, 3), np.uint8)
    assert sent(session, layout, values)["same"].shape == (0, 2, 3, 3)


@pytest.mark.parametrize(
    "number", [np.float32(2.5), np.array(2.5, np.float32), np.array(2.5, ">f4")]
)
def test_numbers_without_a_dimension(session, number):
    values = np.full((3, 1), np.e - 2.5, np.float32)
    answer = session.run("logarithm", {"values": values, "shift": number})["logarithm"]
    np.testing.assert_allclose(answer, np.ones((3, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    "images",
    [
        np.array([object()]),
        np.array([b"\1"] * 18, object).reshape(1, 2, 3, 3),
        np.zeros((1, 2, 3, 3), np.int8),
        np.zeros((1, 2, 3, 3), np.float16),
        np.zeros((1, 2, 3, 3), np.complex64),
        np.zeros((1, 2, 3, 3), "datetime64[s]"),
        np.zeros((1, 2, 3, 3), [("a", np.uint8)]),
        np.zeros((1, 2, 3, 3), np.bool_),
        [[1, 2], [3]],
        None,
    ],
    ids=lambda images: str(getattr(images, "dtype", images)),
)
def test_what_is_no_array_of_the_dtype_is_refused(session, images):
    with pytest.raises(CppSessionError, match="`scale/images` must be|hold") as refused:
        session.run("scale", {"images": images})
    assert refused.value.code == 3
