"""The parts of a PNG file (ISO/IEC 15948): read one by one, each held to its own checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from lcma_tf.image_files.header import ImageFileError, ImageHeader

__all__ = ["PNG_MAGIC", "has_transparency", "pixels_alone", "read_png_header"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # Of each colour type.
_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# Where an orientation mark may stand: Exif, and text with one of these names.
_EXIF, _TEXTS = b"eXIf", (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
# Start and step, across and down, of the seven passes of an interlaced image.
_PASSES = (
    *((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4)),
    *((0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)),
)
_BLOCK = 1 << 20


def read_png_header(data: bytes) -> ImageHeader:
    """The header of a PNG file, without a look at the rest.

    Raises:
        ImageFileError: it does not begin with a good one.
    """
    kind, content = next(_parts(data), (b"", b""))
    if kind != b"IHDR" or len(content) != 13:
        raise ImageFileError("must be a PNG file that starts with its header; it does not")
    width, height, bits, colour, compression, method, interlaced = struct.unpack(
        ">IIBBBBB", content
    )
    known = bits in _BITS.get(colour, ()) and (compression, method) == (0, 0) and interlaced <= 1
    if not known or not 0 < width < 2**31 or not 0 < height < 2**31:
        raise ImageFileError("must be a PNG file with a valid header; its own breaks the standard")
    return ImageHeader("PNG", width, height, bits, colour)


def has_transparency(data: bytes) -> bool:
    """Whether a PNG file says how opaque its pixels are; False for what is no PNG.

    Raises:
        ImageFileError: it has no good header.
    """
    if not data.startswith(PNG_MAGIC):
        return False
    if read_png_header(data).colour in (4, 6):
        return True
    for kind, _ in _parts(data):  # Before the pixels, or not at all.
        if kind in (b"tRNS", b"IDAT"):
            return kind == b"tRNS"
    return False


def pixels_alone(data: bytes, orientation: bool) -> bytes:
    """The same PNG without the parts that do not decide its pixels, and without bytes behind its end.

    Colour profiles, texts, times and animations are where hostile files live, and damage there is none
    of the pixels: nobody has to read them.

    Args:
        data: a file of which `read_png_header` approves.
        orientation: whether the parts that may hold a camera's orientation mark are kept.

    Raises:
        ImageFileError: it is cut short, or a part that decides pixels is damaged or missing.
    """
    header = read_png_header(data)
    kept, seen, last = [PNG_MAGIC], set(), b""
    pixels = []
    for kind, content in _parts(data):
        is_critical = not kind[0] & 0x20
        if is_critical:
            _check_order(kind, last, seen)
            seen.add(kind)
        if is_critical or (orientation and _may_hold_orientation(kind, content)):
            kept.append(_part(kind, content))
        if kind == b"IDAT":
            pixels.append(content)
        last = kind
    if last != b"IEND":
        raise ImageFileError("must be a whole PNG file; it is cut short")
    if header.colour == 3 and b"PLTE" not in seen:
        raise ImageFileError("must be a PNG file with its palette; it has none")
    _check_stream(header, data, pixels)
    return b"".join(kept)


def _check_order(kind: bytes, last: bytes, seen: set[bytes]) -> None:
    """Raises unless it is one header, at most one palette before the pixels, the pixels in one go."""
    if kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
        raise ImageFileError(f"must be a standard PNG file; it has a part {kind!r}")
    is_next = kind == last == b"IDAT" or kind not in seen
    if not is_next or (kind == b"PLTE" and b"IDAT" in seen):
        raise ImageFileError(f"must be a PNG file with its parts in order; {kind!r} is not")


def _parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each part up to the end; a part that is damaged but not needed is left out."""
    position, kind = len(PNG_MAGIC), b""
    while kind != b"IEND" and position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        end = position + 8 + length
        if end + 4 > len(data):
            return
        if not (kind.isalpha() and kind.isascii()):
            raise ImageFileError(f"must be a whole PNG file; a part is called {kind!r}")
        is_whole = zlib.crc32(data[position + 4 : end]) == int.from_bytes(
            data[end : end + 4], "big"
        )
        if not is_whole and not kind[0] & 0x20:
            raise ImageFileError(f"must be a whole PNG file; its part {kind!r} is damaged")
        if is_whole:
            yield kind, data[position + 8 : end]
        position = end + 4


def _part(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _may_hold_orientation(kind: bytes, content: bytes) -> bool:
    return kind == _EXIF or (kind in (b"tEXt", b"zTXt", b"iTXt") and content.startswith(_TEXTS))


def _check_stream(header: ImageHeader, data: bytes, contents: list[bytes]) -> None:
    """Raises unless there are as many bytes as the header's pixels take: Pillow fills up with black."""
    needed, stream = _stream_length(header, interlaced=data[28] == 1), zlib.decompressobj()
    try:
        for content in contents:
            while content and needed > 0 and not stream.eof:
                needed -= len(stream.decompress(content, _BLOCK))
                content = stream.unconsumed_tail
        while needed > 0 and (held_back := stream.decompress(b"", _BLOCK)):
            needed -= len(held_back)
    except zlib.error as error:
        raise ImageFileError(
            f"must be a whole PNG file; its pixels are damaged: {error}"
        ) from error
    if needed > 0:
        raise ImageFileError("must be a whole PNG file; it lacks some of its pixels")


def _stream_length(header: ImageHeader, interlaced: bool) -> int:
    depth = header.bits * _CHANNELS[header.colour]
    length = 0
    for left, across, top, down in _PASSES if interlaced else ((0, 1, 0, 1),):
        columns = max(0, -(-(header.width - left) // across))
        rows = max(0, -(-(header.height - top) // down))
        length += rows * (1 + (columns * depth + 7) // 8) if columns else 0
    return length
