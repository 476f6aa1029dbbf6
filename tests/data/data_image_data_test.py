"""What `ImageData` holds for everyone above the loaders, real-valued and padded images included."""

import numpy as np
import pytest

from lcma_tf import data
from lcma_tf.choices import RESAMPLERS
from lcma_tf.data.padding import padded, without_padding

RNG = np.random.default_rng(0)


def real(count, low=0.0, high=255.0, shape=(3, 5, 1)):
    images = RNG.uniform(max(low, 0), 1, (count, *shape)).astype(np.float32)
    images.flat[:2] = low, high
    return images


def make(train, validation=None, test=None, **options):
    rest = [train[:1] if images is None else images for images in (validation, test)]
    return data.ImageData("some/name", train, *rest, **options)


def test_real_pixels_stay_as_they_are():
    train = real(4)
    images = make(train)
    assert images.train is train
    assert images.image_shape == images.original_shape == (3, 5, 1)
    assert images.num_original_dimensions == 15


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((real(4), real(2).astype(np.uint8)), "dtype of `train`, float32; got uint8"),
        ((real(4).astype(np.uint8), real(2)), "dtype of `train`, uint8; got float32"),
        ((real(4).astype(np.float64),), "uint8 or float32 array .*got float64"),
        ((real(4, -0.1),), "`train` must have finite pixels within 0..255; got values from -0.1"),
        ((real(4), real(2, high=255.1)), "`validation` must have finite pixels .* to 255.1"),
        ((real(4, high=np.nan),), "finite pixels within 0..255"),
        ((real(4), real(2, high=np.inf)), "finite pixels within 0..255"),
        ((real(4, high=1.0),), "scale 0..255; got none above 1, which looks like"),
    ],
)
def test_pixels_that_are_none(images, message):
    with pytest.raises(data.DataError, match=message) as caught:
        make(*images)
    assert str(caught.value).startswith("some/name: ")


@pytest.mark.parametrize("shape", [(3, 5), (4, 5, 1), (3, 5, 3), (0, 5, 1), 5, ("3", 5, 1)])
def test_an_original_shape_that_does_not_fit(shape):
    with pytest.raises(data.DataError, match="`original_shape` must be .*within.*3, 5, 1"):
        make(real(4), original_shape=shape)
    with pytest.raises(data.DataError, match="`original_shape` must be .*within"):
        data.without_padding(real(4), shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_padding_is_zero_and_can_be_taken_off(dtype):
    images = make(real(4).astype(dtype), description="Some set.")
    wide = padded(images, 8)
    assert wide.image_shape == (8, 8, 1)
    assert wide.original_shape == (3, 5, 1)
    assert wide.train.dtype == dtype
    # 5 more rows: 2 above and 3 below; 3 more columns: 1 left and 2 right.
    np.testing.assert_array_equal(wide.train[:, 2:5, 1:6], images.train)
    assert wide.train.sum() == pytest.approx(images.train.sum())
    np.testing.assert_array_equal(without_padding(wide.test, (3, 5, 1)), images.test)
    assert wide.description.startswith("Some set. Zero-padded from 3x5 to 8x8 pixels.")


def test_padding_only_grows():
    square = make(real(4, shape=(4, 4, 3)))
    assert padded(square, 4) is square
    with pytest.raises(data.DataError, match="`pad_to` must be at least .*got 4 for 3x5"):
        padded(make(real(4)), 4)
    with pytest.raises(
        data.DataError, match="`pad_to` must be None or an integer of at least 1; got 0"
    ):
        data.load("photo_patches", pad_to=0)


def test_program_takes_the_nearest_pixels_where_it_hits_them():
    image = RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(RESAMPLERS["program"](image, 4), image[::3, ::3])
    half = RESAMPLERS["program"](image, 8)[0, :3, 0]  # At 0, 1.5 and 3.
    left, _, right = image[0, 1, 0], None, image[0, 2, 0]
    assert half.tolist() == [image[0, 0, 0], (int(left) + int(right)) / 2, image[0, 3, 0]]


def test_antialias_averages_what_program_skips():
    checkerboard = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(200)
    image = np.repeat(checkerboard[..., None], 3, axis=-1).astype(np.uint8)
    assert RESAMPLERS["antialias"](image, 16).std() < 1
    # Every fourth pixel is of one colour: that is aliasing.
    np.testing.assert_array_equal(RESAMPLERS["program"](image, 16), 0)
