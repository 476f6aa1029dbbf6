"""Contents of rows to pixels of one shape, as an `image_folder` brings them; or why there are none."""

import io

import numpy as np
import pytest
from PIL import Image

from lcma_tf.batch.pictures import Pictures
from lcma_tf.choices import RESIZES
from lcma_tf.data import load_for_scoring
from lcma_tf.data.padding import without_padding
from lcma_tf.image_files import ImageFileError
from testing import random_images

SHAPE = (8, 8, 3)
COLOUR, GREY = random_images(1, SHAPE)[0], random_images(1, (8, 8, 1))[0]


def png(image, **options):
    file = io.BytesIO()
    Image.fromarray(np.squeeze(image)).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "of_file",
    [
        lambda image: png(image),
        lambda image: png(np.dstack([image, image[..., :1]])),  # With alpha.
        lambda image: image,
    ],
)
def test_grey_becomes_colour_and_transparency_is_dropped(channels, of_file):
    shape = (8, 8, channels)
    found = Pictures(shape, shape).image(of_file(GREY))
    np.testing.assert_array_equal(found, np.broadcast_to(GREY, shape))


def test_colours_stay_and_become_nothing_else():
    pictures = Pictures(SHAPE, SHAPE)
    with_alpha = np.dstack([COLOUR, COLOUR[..., :1]])
    for content in (COLOUR, png(COLOUR), png(with_alpha)):
        np.testing.assert_array_equal(pictures.image(content), COLOUR)
    for shape, words in (((8, 8, 1), "must be grey"), ((8, 8, 2), "must have 2 channels")):
        with pytest.raises(ImageFileError, match=words):
            Pictures(shape, shape).image(png(COLOUR))


@pytest.mark.parametrize("resize", ["refuse", *RESIZES])
@pytest.mark.parametrize("shape", [(8, 8, 3), (20, 31, 3), (5, 4, 1), (8, 9, 3)])
def test_another_size_is_refused_or_brought_to_that_of_the_flow(resize, shape):
    image = random_images(1, shape)[0]
    pictures = Pictures(SHAPE, SHAPE, resize)
    if resize == "refuse" and shape != SHAPE:
        words = f"must be 8 x 8 pixels; it is {shape[1]} x {shape[0]}"
        with pytest.raises(ImageFileError, match=words):
            pictures.image(png(image))
    else:
        assert pictures.image(png(image)).shape == SHAPE


def test_each_way_is_that_of_the_data(tmp_path):
    image = random_images(1, (20, 31, 3))[0]
    (tmp_path / "a.png").write_bytes(png(image))
    of_folder = load_for_scoring(f"image_folder:{tmp_path}", image_size=8).images[0]
    np.testing.assert_array_equal(Pictures(SHAPE, SHAPE, "area").image(png(image)), of_folder)
    square = Image.fromarray(image[:, 5:25]).resize((8, 8), Image.Resampling.BILINEAR)
    found = Pictures(SHAPE, SHAPE, "antialias").image(png(image))
    np.testing.assert_array_equal(found, np.asarray(square))


def test_a_padded_flow_takes_pictures_of_the_size_inside():
    pictures = Pictures((7, 6, 3), SHAPE)
    image = random_images(1, (7, 6, 3))[0]
    found = pictures.image(png(image))
    assert found.shape == SHAPE and found.sum() == image.sum()
    np.testing.assert_array_equal(without_padding(found, (7, 6, 3)), image)
    with pytest.raises(ImageFileError, match="must be 6 x 7 pixels; it is 8 x 8"):
        pictures.image(COLOUR)


@pytest.mark.parametrize(
    "content", [b"", b"hello", png(COLOUR)[:-20], ImageFileError("must be a file"), COLOUR[:0]]
)
@pytest.mark.parametrize("resize", ["refuse", "area"])
def test_what_is_no_picture_says_so(content, resize):
    with pytest.raises(ImageFileError, match="must be"):
        Pictures(SHAPE, SHAPE, resize).image(content)
