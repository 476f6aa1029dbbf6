"""PNG and JPEG files on the client's side: found in a folder, looked at before they are sent.

Whether a file has a score is for the server to say, whose decoder is the only one. Here is refused only
what the server refuses by the same bytes; and told what will probably fail, to be sent by itself.
"""

from __future__ import annotations

import os
import pathlib
import struct
import zlib
from collections.abc import Iterator, Sequence

from lcma_tf.serving.client.checks import RequestError

__all__ = [
    "JPEG_COMPONENTS",
    "JPEG_MAGIC",
    "PNG_COLOURS",
    "PNG_HEADER_BYTES",
    "PNG_MAGIC",
    "check_encoded",
    "find_images",
    "is_whole",
]

_SUFFIXES = (".png", ".jpg", ".jpeg")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
# Numbers that files state for what they hold, by the channels of the images that are wanted: for grey
# ones grey with or without alpha, for colour images every kind but CMYK.
PNG_COLOURS = {1: (0, 4), 3: (0, 2, 3, 4, 6)}
JPEG_COMPONENTS = {1: (1,), 3: (1, 3)}
# A PNG's signature, then its first part: length, kind, width, height, bits, colours.
_PNG_HEADER = struct.Struct(">8sI4sIIBB")
PNG_HEADER_BYTES = _PNG_HEADER.size


def find_images(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The PNG and JPEG files of a folder and of those in it, sorted, known by their names.

    Links to folders are followed, to each folder once. A folder that may not be read is among what is
    returned: reading it as a file says why.

    Raises:
        RequestError: no such folder, or no such file in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise RequestError(f"`folder` must be an existing folder; got {str(folder)!r}.")
    found: list[pathlib.Path] = []
    seen: set[tuple[int, int]] = set()

    def unread(error: OSError) -> None:
        found.append(pathlib.Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=unread, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()  # Which of several ways to a folder is the first must not be chance.
        paths = (pathlib.Path(place, name) for name in names)
        found += [path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file()]
    if not found:
        raise RequestError(
            f"`folder` must hold files named {', '.join(_SUFFIXES)}; {str(folder)!r} has none."
        )
    return sorted(found)


def check_encoded(data: bytes, image_shape: Sequence[int]) -> None:
    """Raises `RequestError` at what the server certainly refuses.

    That is: what is neither PNG nor JPEG by its first bytes, and a PNG whose header states other sides,
    more than 8 bits a channel or other colours than `image_shape`. Of what passes the server may still
    refuse some: a JPEG of other sides, a torn file.
    """
    height, width, channels = image_shape
    if channels not in PNG_COLOURS:
        raise RequestError(f"the model's images must have 1 or 3 channels; they have {channels}")
    if data.startswith(JPEG_MAGIC):
        return
    if not data.startswith(PNG_MAGIC):
        raise RequestError(f"must be a PNG or a JPEG file; its first bytes are {data[:8]!r}")
    if len(data) < PNG_HEADER_BYTES:
        raise RequestError("must be a whole PNG file; it is cut short")
    _, _, kind, found_width, found_height, bits, colour = _PNG_HEADER.unpack_from(data)
    if kind != b"IHDR":
        raise RequestError("must be a PNG file that starts with its header; it does not")
    if (found_height, found_width) != (height, width):
        raise RequestError(
            f"must be {width} x {height} pixels; it is {found_width} x {found_height}"
        )
    if bits > 8:
        raise RequestError(f"must have at most 8 bits a channel; it has {bits}")
    if colour not in PNG_COLOURS[channels]:
        wanted = "grey" if channels == 1 else "grey or RGB"
        raise RequestError(f"must be {wanted}; its colours are of another kind ({colour})")


def is_whole(data: bytes) -> bool:
    """Whether a file looks undamaged: no verdict, decoders pass over some damage.

    A PNG must consist of parts with their checksums up to its end; a JPEG must have one frame, and an
    end behind its coefficients.
    """
    return _is_whole_png(data) if data.startswith(PNG_MAGIC) else _is_whole_jpeg(data)


def _is_whole_png(data: bytes) -> bool:
    position = len(PNG_MAGIC)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        checksum = data[position + 8 + length : position + 12 + length]
        if zlib.crc32(data[position + 4 : position + 8 + length]) != int.from_bytes(
            checksum, "big"
        ):
            return False
        if kind == b"IEND":
            return len(checksum) == 4
        position += 12 + length
    return False


def _is_whole_jpeg(data: bytes) -> bool:
    frames = 0
    for marker, end in _jpeg_segments(data):
        # Frame headers are C0 to CF, but for DHT, JPG and DAC among them.
        frames += 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if marker == 0xDA:
            # Coefficients follow, in which only an end of the image is a marker FFD9.
            return frames == 1 and data.find(b"\xff\xd9", end) >= 0
    return False


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and end of each segment up to the first coefficients."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # Padding.
            position += 1
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + length
        if length < 2 or end > len(data):
            return
        yield marker, end
        position = end
