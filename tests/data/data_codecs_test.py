"""Codec figures count coded pixels only, checked against files taken apart in another way."""

import io

import numpy as np
import pytest
from PIL import Image

from lcma_tf import data

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 10, 3), dtype=np.uint8)


def file_size(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, **options)
    return len(file.getvalue())


def test_png_without_its_57_fixed_bytes():
    # Signature 8, IHDR 25, IEND 12, and 12 about the data: small images have one IDAT chunk.
    sizes = [file_size(image, format="PNG", optimize=True) - 57 for image in IMAGES]
    expected = 8 * np.mean(sizes) / (8 * 10 * 3)
    assert data.codec_bits_per_dim(IMAGES, "png") == pytest.approx(expected)


def test_webp_without_its_20_fixed_bytes():
    sizes = [
        file_size(image, format="WEBP", lossless=True, quality=100, method=6) - 20
        for image in IMAGES
    ]
    expected = 8 * np.mean(sizes) / (8 * 10 * 3)
    # A file is padded to an even length; the padding is no payload.
    assert expected - 8 / 240 <= data.codec_bits_per_dim(IMAGES, "webp") <= expected


@pytest.mark.parametrize("codec", ["png", "webp"])
def test_grey_divides_by_its_own_dimensions(codec):
    grey = IMAGES[..., :1]
    noise = data.codec_bits_per_dim(grey, codec)
    assert 8 <= noise < 14  # Noise cannot be coded below 8 bits; the rest is tables.
    assert data.codec_bits_per_dim(np.zeros_like(grey), codec) < 2.5


@pytest.mark.parametrize(
    ("images", "codec", "message"),
    [
        (IMAGES, "gif", "must be one of png, webp; got 'gif'"),
        (IMAGES[:0], "png", "at least one image"),
        (IMAGES[..., :2], "png", r"\[3, 8, 10, 2\]"),
        (IMAGES / 255.0, "png", "got float64"),
        (IMAGES.tolist(), "png", "NumPy array; got list"),
        (IMAGES, ["png"], "one of png, webp"),
    ],
)
def test_bad_arguments(images, codec, message):
    with pytest.raises(data.DataError, match=message):
        data.codec_bits_per_dim(images, codec)
