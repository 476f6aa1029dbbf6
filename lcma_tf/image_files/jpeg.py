"""The segments of a JPEG file (ITU-T T.81) before its coefficients, and whether it has an end."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lcma_tf.image_files.header import ImageFileError, ImageHeader

__all__ = ["JPEG_MAGIC", "read_jpeg_header"]

JPEG_MAGIC = b"\xff\xd8\xff"
_SCAN = 0xDA  # Coefficients follow, in which only an end of the image is a marker FFD9.
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # Among C0 to CF, which else are frames.


def read_jpeg_header(data: bytes) -> ImageHeader:
    """The one frame header of a JPEG file that has an end.

    A JPEG has no checksum: damage to its coefficients is seen only where they stop making sense.

    Raises:
        ImageFileError: it is cut short, or has no frame or several.
    """
    frames, has_scan = [], False
    for marker, start, end in _segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME and end - start >= 6:
            frames.append(struct.unpack_from(">BHHB", data, start))
        if marker == _SCAN:
            has_scan = data.find(b"\xff\xd9", end) >= 0
    if not frames or not has_scan:
        raise ImageFileError("must be a whole JPEG file; it is cut short or damaged")
    if len(frames) > 1:
        raise ImageFileError(f"must be a JPEG file of one frame; it has {len(frames)}")
    bits, height, width, components = frames[0]
    if not height or not width:
        raise ImageFileError(f"must have pixels; it says that it has {width} x {height}")
    return ImageHeader("JPEG", width, height, bits, components)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
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
        if marker == _SCAN:
            return
        position = end
