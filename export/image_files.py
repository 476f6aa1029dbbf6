"""PNG and JPEG files on the client's side: found in a folder, checked, decoded.

The checks are those of the signature `log_prob_encoded`, and one more: a PNG must be whole by its own
checksums. A file that fails here would fail every request that the server merges it with.
"""

from __future__ import annotations

import io
import os
import pathlib
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from export.request_checks import RequestError

__all__ = [
    "JPEG_COMPONENTS",
    "JPEG_MAGIC",
    "PNG_COLOURS",
    "PNG_MAGIC",
    "check_encoded",
    "decode",
    "find_images",
]

_SUFFIXES = (".png", ".jpg", ".jpeg")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
# Numbers that files state for what they hold, by the channels of the images that are wanted: for grey
# ones grey with or without alpha, for colour images every kind but CMYK.
PNG_COLOURS = {1: (0, 4), 3: (0, 2, 3, 4, 6)}
JPEG_COMPONENTS = {1: (1,), 3: (1, 3)}


def find_images(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The PNG and JPEG files of a folder and of those in it, sorted, known by their names.

    Raises:
        RequestError: no such folder, or no such file in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise RequestError(f"`folder` must be an existing folder; got {str(folder)!r}.")
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()
    )
    if not found:
        raise RequestError(
            f"`folder` must hold files named {', '.join(_SUFFIXES)}; {str(folder)!r} has none."
        )
    return found


def check_encoded(data: bytes, image_shape: Sequence[int]) -> None:
    """Raises `RequestError` unless `data` is a PNG or JPEG file of an image of this shape."""
    height, width, channels = image_shape
    if channels not in PNG_COLOURS:
        raise RequestError(f"the model's images must have 1 or 3 channels; they have {channels}")
    if data.startswith(PNG_MAGIC):
        found_height, found_width, bits, colour = _read_png(data)
        colours = PNG_COLOURS
    elif data.startswith(JPEG_MAGIC):
        found_height, found_width, bits, colour = _read_jpeg(data)
        colours = JPEG_COMPONENTS
    else:
        raise RequestError(f"must be a PNG or a JPEG file; its first bytes are {data[:8]!r}")
    if (found_height, found_width) != (height, width):
        raise RequestError(
            f"must be {width} x {height} pixels; it is {found_width} x {found_height}"
        )
    if bits > 8:
        raise RequestError(f"must have at most 8 bits a channel; it has {bits}")
    if colour not in colours[channels]:
        wanted = "grey" if channels == 1 else "grey or RGB"
        raise RequestError(f"must be {wanted}; its colours are of another kind ({colour})")


def decode(data: bytes, image_shape: Sequence[int]) -> np.ndarray:
    """Pixels uint8 `[H, W, C]` of a checked file, by Pillow.

    As in the model: a grey file gives three equal channels where three are wanted, transparency is
    dropped, a camera's orientation mark is not obeyed. JPEG is decoded by the accurate method, whatever
    the model was trained on.

    Raises:
        RequestError: `check_encoded` refuses it, or it is torn.
    """
    from PIL import Image

    check_encoded(data, image_shape)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            pixels = np.asarray(image.convert("L" if image_shape[-1] == 1 else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # What Pillow raises on torn files.
        raise RequestError(f"cannot be decoded: {error}") from error
    return pixels.reshape(tuple(image_shape))


def _read_png(data: bytes) -> tuple[int, int, int, int]:
    """Height, width, bits a channel and colour type of a whole PNG."""
    header, complete, position = None, False, len(PNG_MAGIC)
    while not complete:
        if position + 12 > len(data):
            raise RequestError("must be a whole PNG file; it is cut short")
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        content = data[position + 8 : position + 8 + length]
        checksum = data[position + 8 + length : position + 12 + length]
        if len(checksum) < 4:
            raise RequestError("must be a whole PNG file; it is cut short")
        if zlib.crc32(kind + content) != int.from_bytes(checksum, "big"):
            raise RequestError(f"must be a whole PNG file; its part {kind!r} is damaged")
        if header is None:
            if kind != b"IHDR" or length != 13:
                raise RequestError("must be a PNG file that starts with its header; it does not")
            header = content
        complete = kind == b"IEND"
        position += 12 + length
    assert header is not None
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    return height, width, bits, colour


def _read_jpeg(data: bytes) -> tuple[int, int, int, int]:
    """Height, width, bits a channel and number of components of a JPEG that has an end."""
    frame = None
    for marker, start, end in _jpeg_segments(data):
        # Frame headers are C0 to CF, but for DHT, JPG and DAC among them.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and end - start >= 6:
            bits, height, width, components = struct.unpack_from(">BHHB", data, start)
            frame = frame or (height, width, bits, components)
        if marker == 0xDA:
            # Coefficients follow, in which only an end of the image is a marker FFD9.
            if frame is None or data.find(b"\xff\xd9", end) < 0:
                break
            return frame
    raise RequestError("must be a whole JPEG file; it is cut short or damaged")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of the content of each segment before the first coefficients."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # Padding.
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        start, end = position + 4, position + 2 + length
        if length < 2 or end > len(data):
            return
        yield marker, start, end
        if marker == 0xDA:
            return
        position = end
