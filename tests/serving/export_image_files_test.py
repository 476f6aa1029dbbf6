"""What a client looks at before it sends a file: found, certainly refused, probably damaged."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.image_files import check_encoded, find_images, is_whole
from served_cases import encode_file
from testing import random_images

COLOUR, GREY = (16, 24, 3), (16, 24, 1)
IMAGE, GREY_IMAGE = random_images(1, COLOUR)[0], random_images(1, GREY)[0]
PNG, JPEG = encode_file(IMAGE), encode_file(IMAGE, "JPEG")
ALPHA = np.random.default_rng(0).integers(0, 256, (16, 24, 4), dtype=np.uint8)


def as_file(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "shape"),
    [
        (PNG, COLOUR),
        (encode_file(GREY_IMAGE), COLOUR),
        (encode_file(GREY_IMAGE), GREY),
        (as_file(Image.fromarray(ALPHA, "RGBA")), COLOUR),
        (as_file(Image.fromarray(IMAGE).quantize(7)), COLOUR),
        (JPEG, COLOUR),
        (encode_file(GREY_IMAGE, "JPEG"), COLOUR),
        (encode_file(IMAGE, "JPEG", progressive=True), COLOUR),
        (encode_file(IMAGE, "JPEG", subsampling=0), COLOUR),
        (PNG + b"more", COLOUR),
        (JPEG + b"more", COLOUR),
    ],
    ids=str,
)
def test_files_of_every_kind_pass_and_are_whole(file, shape):
    check_encoded(file, shape)
    assert is_whole(file)


DEEP = as_file(Image.fromarray(np.zeros((16, 24), np.uint16)))


@pytest.mark.parametrize(
    ("file", "shape", "message"),
    [
        (b"", COLOUR, "must be a PNG or a JPEG file"),
        (as_file(Image.fromarray(IMAGE), "GIF"), COLOUR, "its first bytes are b'GIF8"),
        (as_file(Image.fromarray(IMAGE), "BMP"), COLOUR, "must be a PNG or a JPEG file"),
        (PNG, (24, 16, 3), "must be 16 x 24 pixels; it is 24 x 16"),
        (PNG, GREY, "must be grey"),
        (DEEP, COLOUR, "must have at most 8 bits a channel; it has 16"),
        (PNG, (16, 24, 2), "1 or 3 channels; they have 2"),
        (PNG[:25], COLOUR, "cut short"),
        (PNG[:12] + b"IDAT" + PNG[16:], COLOUR, "starts with its header; it does not"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else None,
)
def test_what_the_server_refuses_unseen_is_refused(file, shape, message):
    with pytest.raises(RequestError, match=message):
        check_encoded(file, shape)


@pytest.mark.parametrize("kept", [8, 20, 33, 40, len(PNG) // 2, len(PNG) - 12, len(PNG) - 1])
def test_a_png_that_is_cut_short_is_damaged(kept):
    assert not is_whole(PNG[:kept])


@pytest.mark.parametrize("kept", [3, 20, 160, len(JPEG) // 2, len(JPEG) - 2, len(JPEG) - 1])
def test_a_jpeg_that_is_cut_short_is_damaged(kept):
    assert not is_whole(JPEG[:kept])


def test_a_png_with_a_flipped_bit_is_damaged():
    for place in range(8, len(PNG), 97):
        flipped = bytearray(PNG)
        flipped[place] ^= 4
        assert not is_whole(bytes(flipped))


def test_random_damage_never_ends_in_another_error():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        damaged = bytearray([PNG, JPEG][rng.integers(2)])
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        found.append(is_whole(bytes(damaged)))
    assert 0 < sum(found) < 1000


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


def test_links_to_folders_are_followed_once(tmp_path):
    for name in ("images/a/1.png", "elsewhere/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    images = tmp_path / "images"
    (images / "b").symlink_to(tmp_path / "elsewhere")
    (images / "c").symlink_to(tmp_path / "elsewhere")
    (images / "a" / "loop").symlink_to(images)
    found = [path.relative_to(images).as_posix() for path in find_images(images)]
    assert found == ["a/1.png", "b/2.png"]


def test_a_folder_that_may_not_be_read_is_found_too(tmp_path, monkeypatch):
    for name in ("a/1.png", "b/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a/1.png", "b"]
