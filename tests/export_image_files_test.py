"""Files that the server would refuse, or decode to something else, are found before they are sent."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from export.image_files import check_encoded, decode, find_images
from export.request_checks import RequestError
from served_cases import encode_file
from testing import random_images

COLOUR, GREY = (16, 24, 3), (16, 24, 1)
IMAGE, GREY_IMAGE = random_images(1, COLOUR)[0], random_images(1, GREY)[0]
PNG, JPEG = encode_file(IMAGE), encode_file(IMAGE, "JPEG")
PALETTE = np.random.default_rng(0).integers(0, 256, (16, 24, 4), dtype=np.uint8)


def as_file(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_pixels_of_a_png_are_exact(shape):
    image = random_images(1, shape)[0]
    np.testing.assert_array_equal(decode(encode_file(image), shape), image)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpegs_of_every_kind_pass(options):
    file = encode_file(IMAGE, "JPEG", quality=95, **options)
    assert np.abs(decode(file, COLOUR).astype(int) - IMAGE).mean() < 60
    grey = np.full(GREY, 77, np.uint8)
    np.testing.assert_array_equal(decode(encode_file(grey, "JPEG"), GREY), grey)


def test_grey_becomes_colour_and_transparency_goes():
    np.testing.assert_array_equal(
        decode(encode_file(GREY_IMAGE), COLOUR), np.repeat(GREY_IMAGE, 3, axis=-1)
    )
    alpha = Image.fromarray(PALETTE, "RGBA")
    np.testing.assert_array_equal(decode(as_file(alpha), COLOUR), PALETTE[..., :3])
    palette = Image.fromarray(IMAGE).quantize(7)
    np.testing.assert_array_equal(decode(as_file(palette), COLOUR), palette.convert("RGB"))


def test_bytes_behind_the_end_are_nobodys():
    for file in (PNG, JPEG):
        np.testing.assert_array_equal(decode(file + b"more", COLOUR), decode(file, COLOUR))


DEEP = as_file(Image.fromarray(np.zeros((16, 24), np.uint16)))
CMYK = as_file(Image.new("CMYK", (24, 16)), "JPEG")


@pytest.mark.parametrize(
    ("file", "shape", "message"),
    [
        (b"", COLOUR, "must be a PNG or a JPEG file"),
        (as_file(Image.fromarray(IMAGE), "GIF"), COLOUR, "its first bytes are b'GIF8"),
        (as_file(Image.fromarray(IMAGE), "BMP"), COLOUR, "must be a PNG or a JPEG file"),
        (PNG, (24, 16, 3), "must be 16 x 24 pixels; it is 24 x 16"),
        (JPEG, (16, 16, 3), "must be 16 x 16 pixels; it is 24 x 16"),
        (PNG, GREY, "must be grey"),
        (JPEG, GREY, "must be grey"),
        (CMYK, COLOUR, "must be grey or RGB"),
        (DEEP, COLOUR, "must have at most 8 bits a channel; it has 16"),
        (PNG, (16, 24, 2), "1 or 3 channels; they have 2"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else None,
)
def test_the_wrong_files_are_refused(file, shape, message):
    with pytest.raises(RequestError, match=message):
        check_encoded(file, shape)


@pytest.mark.parametrize("kept", [8, 20, 33, 40, len(PNG) // 2, len(PNG) - 12, len(PNG) - 1])
def test_a_png_that_is_cut_short_is_refused(kept):
    with pytest.raises(RequestError, match="cut short"):
        check_encoded(PNG[:kept], COLOUR)


@pytest.mark.parametrize("kept", [3, 20, 160, len(JPEG) // 2, len(JPEG) - 2, len(JPEG) - 1])
def test_a_jpeg_that_is_cut_short_is_refused(kept):
    with pytest.raises(RequestError, match="must be a whole JPEG"):
        check_encoded(JPEG[:kept], COLOUR)


def test_a_png_with_a_flipped_bit_is_refused():
    for place in range(8, len(PNG), 97):
        flipped = bytearray(PNG)
        flipped[place] ^= 4
        with pytest.raises(RequestError):
            check_encoded(bytes(flipped), COLOUR)


def test_random_damage_never_ends_in_another_error():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray([PNG, JPEG][rng.integers(2)])
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        with contextlib.suppress(RequestError):
            assert decode(bytes(damaged), COLOUR).shape == COLOUR


def test_files_are_found_in_order_by_their_names(tmp_path):
    for name in ("b.png", "a/c.JPG", "a.jpeg", "a.txt", "z/y/x.Png", "d.png/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/c.JPG", "a.jpeg", "b.png", "z/y/x.Png"]
    with pytest.raises(RequestError, match="`folder` must hold files named .png"):
        find_images(tmp_path / "d.png")
    with pytest.raises(RequestError, match="`folder` must be an existing folder"):
        find_images(tmp_path / "none")
