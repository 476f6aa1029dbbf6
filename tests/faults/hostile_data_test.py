"""Pictures and archives from a stranger: pixels or a `DataError`, and no program is started."""

import io
import os
import struct
import subprocess
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

import commands
from lcma_tf import data, image_files
from lcma_tf.image_files import ImageFileError, decode_image
from lcma_tf.image_files.png import PNG_MAGIC

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 10, 3), np.uint8)
GREY = COLOUR[..., 0]


def as_file(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(file, kind, **options)
    return file.getvalue()


def part(kind, content):
    return struct.pack(">I", len(content)) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png(bits, colour, rows, size=(3, 2), interlaced=0, before=b"", after=b""):
    """A PNG of raw rows, each with its filter byte; `before` and `after` the pixels further parts."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced)
    pixels = part(b"IDAT", zlib.compress(rows))
    return b"".join((PNG_MAGIC, part(b"IHDR", header), before, pixels, after, part(b"IEND", b"")))


GOOD_PNG, GOOD_JPEG = as_file(COLOUR), as_file(COLOUR, "JPEG")
PALETTE = part(b"PLTE", bytes(range(48)))
# Colour type of a PNG -> its bytes a pixel at 16 bits.
DEEP = {0: 2, 2: 6, 4: 4, 6: 8}


@pytest.mark.parametrize("colour", DEEP)
def test_16_bits_are_refused_whatever_the_colours(colour, tmp_path):
    deep = png(16, colour, (b"\0" + bytes(3 * DEEP[colour])) * 2)
    with Image.open(io.BytesIO(deep)) as picture:
        picture.load()  # A good file.
    for split in data.image_data.SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(deep)
    with pytest.raises(
        data.DataError, match=r"a\.png is not: .*at most 8 bits a channel; it has 16"
    ):
        data.load(f"image_folder:{tmp_path}")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (png(1, 0, b"\0\xa0\0\x40"), [[255, 0, 255], [0, 255, 0]]),
        (png(2, 0, b"\0\x1b\0\xe4"), [[0, 85, 170], [255, 170, 85]]),
        (png(4, 0, b"\0\x0f\x80\0\x12\x30"), [[0, 255, 136], [17, 34, 51]]),
        (png(8, 4, b"\0" + bytes([7, 0, 8, 9, 9, 255]) + b"\0" + bytes(6)), [[7, 8, 9], [0, 0, 0]]),
        (
            png(4, 3, b"\0\x01\x20\0\x21\0", before=PALETTE),
            [[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[6, 7, 8], [3, 4, 5], [0, 1, 2]]],
        ),
        (
            png(1, 3, b"\0\xa0\0\0", before=PALETTE + part(b"tRNS", b"\0\xff")),
            [[[3, 4, 5], [0, 1, 2], [3, 4, 5]], [[0, 1, 2]] * 3],
        ),
        (
            png(8, 6, b"\0" + bytes(range(12)) + b"\0" + bytes(12)),
            [[[0, 1, 2], [4, 5, 6], [8, 9, 10]], [[0, 0, 0]] * 3],
        ),
    ],
)
def test_fewer_bits_palettes_and_transparency_are_brought_to_pixels(file, expected):
    np.testing.assert_array_equal(decode_image(file), np.array(expected, np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 5), (8, 16)])
def test_interlaced_files_are_whole_when_all_passes_are_there(size):
    width, height = size
    steps = image_files.png._PASSES
    rows = b"".join(
        (b"\0" + bytes(len(range(left, width, across)))) * len(range(top, height, down))
        for left, across, top, down in steps
        if len(range(left, width, across))
    )
    assert decode_image(png(8, 0, rows, size, interlaced=1)).size == size
    with pytest.raises(ImageFileError, match="lacks some of its pixels"):
        decode_image(png(8, 0, rows[:-1], size, interlaced=1))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("GIF", "GIF"),
        ("BMP", "BMP"),
        ("TIFF", "TIFF"),
        ("WEBP", "WebP"),
        ("EPS", "EPS"),
        ("PDF", "PDF"),
        ("JPEG2000", "JPEG 2000"),
        ("PPM", "first bytes b'P6"),
    ],
)
def test_other_formats_are_called_by_their_name(kind, name, tmp_path):
    for split in data.image_data.SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(as_file(COLOUR, kind))
    with pytest.raises(data.DataError, match=rf"a\.png is not: .*PNG or a JPEG.*{name}"):
        data.load(f"image_folder:{tmp_path}")


def test_no_program_is_started(tmp_path, monkeypatch):
    """Pillow would hand a PostScript file to `gs`, whatever it is called."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # It looks for it once.
    hostile = as_file(COLOUR, "EPS")
    failed = (OSError, subprocess.CalledProcessError)  # It is no Ghostscript.
    with pytest.raises(failed), Image.open(io.BytesIO(hostile)) as picture:
        picture.load()
    assert (tmp_path / "started").exists()  # It is that kind of file.
    (tmp_path / "started").unlink()
    folder = tmp_path / "images"
    for split in data.image_data.SPLITS:
        (folder / split).mkdir(parents=True)
        for suffix in ("png", "jpg", "jpeg"):
            (folder / split / f"a.{suffix}").write_bytes(hostile)
    with pytest.raises(data.DataError, match="PostScript"):
        data.load(f"image_folder:{folder}")
    with pytest.raises(data.DataError, match="0 train"):
        data.load(f"image_folder:{folder}", skip_bad_images=True)
    assert not (tmp_path / "started").exists()


HUGE = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
HUGE_FRAME = b"\xff\xc0\0\x11\x08\xea\x60\xea\x60\x03\x01\x11\0\x02\x11\1\x03\x11\1"
SCAN = GOOD_JPEG.index(b"\xff\xda")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (PNG_MAGIC + part(b"IHDR", HUGE) + GOOD_PNG[33:], "at most 134,217,728 pixels"),
        (GOOD_PNG[:33] + part(b"IHDR", HUGE) + GOOD_PNG[33:], "parts in order; b'IHDR' is not"),
        (GOOD_PNG[:-12] + part(b"IHDR", HUGE) + GOOD_PNG[-12:], "parts in order; b'IHDR' is not"),
        (GOOD_PNG[:-12] + GOOD_PNG[33:-12] + GOOD_PNG[-12:], None),  # More of it: nobody's.
        (png(8, 0, bytes(8), after=PALETTE), "parts in order; b'PLTE' is not"),
        (png(8, 0, bytes(8), before=part(b"ABCD", b"")), "has a part b'ABCD'"),
        (png(8, 0, bytes(8), before=part(b"\xffBCD", b"")), "a part is called"),
        (png(8, 3, bytes(8)), "its palette; it has none"),
        (png(8, 0, bytes(7)), "lacks some of its pixels"),
        (png(3, 0, bytes(8)), "breaks the standard"),
        (png(8, 0, bytes(8), size=(0, 2)), "breaks the standard"),
        (png(8, 0, bytes(8), interlaced=2), "breaks the standard"),
        (png(8, 0, b"\0abc\x09abc"), "must be a whole PNG file"),  # No such filter.
        (PNG_MAGIC, "starts with its header"),
        (b"", "first bytes b''"),
        (GOOD_JPEG[:SCAN] + HUGE_FRAME + GOOD_JPEG[SCAN:], "one frame; it has 2"),
        (GOOD_JPEG[:2] + HUGE_FRAME + b"\xff\xda\0\x02\xff\xd9", "at most 134,217,728 pixels"),
        (GOOD_JPEG[:-2], "cut short or damaged"),
        (GOOD_JPEG[:SCAN], "cut short or damaged"),
        (
            GOOD_JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
            "8 bits a channel; it has 12",
        ),
    ],
)
def test_a_file_that_claims_too_much_is_refused(file, words):
    if words is None:
        assert decode_image(file).size == (10, 12)
        return
    with pytest.raises(ImageFileError, match=words):
        decode_image(file)


# Short, endless, damaged: what breaks Pillow's readers of parts that decide no pixel.
HOSTILE_PARTS = (
    part(b"iCCP", b"a\0"),
    part(b"iCCP", b""),
    part(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))),
    part(b"iTXt", b""),
    part(b"tRNS", b""),
    part(b"pHYs", b"1"),
    part(b"fcTL", b""),
    part(b"acTL", b""),
    part(b"eXIf", b"MM")[:-1] + b"x",
)


@pytest.mark.parametrize("hostile", HOSTILE_PARTS)
def test_what_decides_no_pixel_stops_nobody(hostile):
    for place in (33, len(GOOD_PNG) - 12):
        picture = decode_image(GOOD_PNG[:place] + hostile + GOOD_PNG[place:])
        np.testing.assert_array_equal(picture, COLOUR)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_orientation_mark_is_obeyed_where_it_is_asked_for(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # A quarter turn.
    turned = as_file(COLOUR, kind, exif=exif)
    assert decode_image(turned).size == (12, 10)
    assert decode_image(turned, orientation=False).size == (10, 12)


def test_files_that_are_too_long_or_no_files_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")  # Reading it would wait for ever.
    with pytest.raises(ImageFileError, match="must be a plain file"):
        image_files.read_image_file(tmp_path / "a.png")
    with open(tmp_path / "b.png", "wb") as file:
        file.truncate(image_files.MAX_BYTES + 1)
    with pytest.raises(ImageFileError, match="at most 536,870,912 bytes; it has 536,870,913"):
        image_files.read_image_file(tmp_path / "b.png")
    with pytest.raises(ImageFileError, match="must be readable; No such file"):
        image_files.read_image_file(tmp_path / "c.png")


def mutant(content, rng):
    """`content` with some bytes changed, cut out, doubled, or cut short."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        start = int(rng.integers(len(content)))
        end = min(len(content), start + int(rng.integers(1, 30)))
        match rng.integers(5):
            case 0:
                content[start] = rng.integers(256)
            case 1:
                content[start] ^= 1 << int(rng.integers(8))
            case 2 if end - start < len(content):
                del content[start:end]
            case 3:
                content[start:start] = content[start:end]
            case 4 if start > len(content) // 2:
                del content[start:]
    return bytes(content)


def with_right_checksums(content):
    """A PNG whose parts have the checksums of what is in them now, where its parts can be told."""
    fixed, position = bytearray(content), len(PNG_MAGIC)
    while position + 12 <= len(fixed):
        end = position + 8 + int.from_bytes(fixed[position : position + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = zlib.crc32(fixed[position + 4 : end]).to_bytes(4)
        position = end + 4
    return bytes(fixed)


SEEDS = {
    "png": GOOD_PNG,
    "palette": as_file(Image.fromarray(COLOUR).quantize(7)),
    "grey": as_file(GREY),
    "alpha": as_file(Image.fromarray(COLOUR).convert("RGBA"), exif=Image.Exif().tobytes()),
    "jpeg": GOOD_JPEG,
    "progressive": as_file(COLOUR, "JPEG", progressive=True),
    "cmyk": as_file(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_mutants_give_pixels_or_one_kind_of_error(seed, at_length):
    rng = np.random.default_rng(list(seed.encode()))
    refused, whole = 0, decode_image(SEEDS[seed])
    for count in range(at_length(200, 20_000)):
        content = mutant(SEEDS[seed], rng)
        if count % 2 and content.startswith(PNG_MAGIC):
            content = with_right_checksums(content)
        try:
            picture = decode_image(content)
        except ImageFileError as error:
            assert str(error).startswith("must ")
            refused += 1
        else:
            assert picture.mode in ("L", "RGB")
            if not count % 2 and content.startswith(PNG_MAGIC):  # By its checksums it is the same.
                np.testing.assert_array_equal(picture, whole)
    assert refused > 20


def test_mutants_of_an_npz_file_give_the_images_or_one_kind_of_error(tmp_path, at_length):
    splits = {split: COLOUR[None] + np.uint8(i) for i, split in enumerate(data.image_data.SPLITS)}
    rng, path, refused = np.random.default_rng(3), tmp_path / "a.npz", 0
    for save in (np.savez, np.savez_compressed):
        save(path, **splits)
        good = path.read_bytes()
        for _ in range(at_length(200, 20_000)):
            path.write_bytes(mutant(good, rng))
            try:
                images = data.load(f"npz:{path}")
            except data.DataError as error:
                assert str(path) in str(error)
                refused += 1
            else:
                for split, array in splits.items():
                    np.testing.assert_array_equal(getattr(images, split), array)
    assert refused > 200


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path):
    """Three arrays of 3 TB each, in a file of a few hundred bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 32, 32, 3)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for split in data.image_data.SPLITS:
            archive.writestr(f"{split}.npy", header.getvalue() + bytes(100))
    with pytest.raises(data.DataError, match="`train` must be readable"):
        data.load(f"npz:{tmp_path}/a.npz")


@pytest.mark.parametrize("content", [b"not an array", b"", b"\x93NUMPY\x09\x00"])
def test_a_member_that_is_no_array_is_refused(content, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for split in data.image_data.SPLITS:
            archive.writestr(split, content)
    with pytest.raises(data.DataError, match="`train` must be readable"):
        data.load(f"npz:{tmp_path}/a.npz")


def test_pictures_are_opened_in_one_place():
    """Whoever calls Pillow's `open` elsewhere tries every format again."""
    package = commands.ROOT / "lcma_tf"
    calls = {path: path.read_text().count("Image.open(") for path in package.rglob("*.py")}
    assert {path: count for path, count in calls.items() if count} == {
        package / "image_files" / "decode.py": 1
    }
