"""A whole PNG or JPEG file of at most 8 bits a channel to a picture, or one kind of error."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence

from PIL import Image, ImageOps

from lcma_tf.image_files.header import ImageFileError, ImageHeader
from lcma_tf.image_files.jpeg import JPEG_MAGIC, read_jpeg_header
from lcma_tf.image_files.png import PNG_MAGIC, pixels_alone, read_png_header

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "decode_image",
    "read_header",
    "read_image_file",
]

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 2**27  # 400 MB as RGB: what one file may make a reader allocate.
MAX_BYTES = 2**29
# First bytes of what is mistaken for the two, to be called by its name.
_OTHERS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"%!PS": "PostScript (EPS)",
    b"\xc5\xd0\xd3\xc6": "PostScript (EPS)",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop (PSD)",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"<svg": "SVG",
    b"<?xml": "XML",
}
_CONTAINERS = {b"WEBP": "WebP", b"avif": "AVIF", b"heic": "HEIC", b"mif1": "HEIF"}  # At byte 8.


def read_header(data: bytes) -> ImageHeader:
    """What a PNG or JPEG file says of itself, told by its content and not by its name.

    Raises:
        ImageFileError: it is neither, or its header is damaged; of a JPEG also where it is cut short.
    """
    if data.startswith(PNG_MAGIC):
        return read_png_header(data)
    if data.startswith(JPEG_MAGIC):
        return read_jpeg_header(data)
    found = next((name for magic, name in _OTHERS.items() if data.startswith(magic)), None)
    found = found or _CONTAINERS.get(data[8:12])
    found = f"a {found} file" if found else f"one with the first bytes {data[:8]!r}"
    raise ImageFileError(f"must be a PNG or a JPEG file by its content; it is {found}")


def decode_image(
    data: bytes, formats: Sequence[str] = FORMATS, orientation: bool = True
) -> Image.Image:
    """A PNG or JPEG file as a loaded picture of mode `L`, if it is grey, or `RGB`.

    A PNG must be whole by the checksums of whatever decides its pixels; its other parts are not looked
    at. Transparency is dropped. Fewer than 8 bits are brought to the scale 0..255, CMYK to RGB.

    Args:
        data: the whole file.
        formats: which of `FORMATS` are taken.
        orientation: whether a camera's orientation mark is obeyed.

    Raises:
        ImageFileError: anything else, whatever a decoder says about it: another format, more than 8
            bits a channel, more than `MAX_PIXELS`, torn.
    """
    header = read_header(data)
    if header.format not in formats:
        raise ImageFileError(f"must be a {' or '.join(formats)} file; it is a {header.format} file")
    if header.bits > 8:
        raise ImageFileError(f"must have at most 8 bits a channel; it has {header.bits}")
    if header.width * header.height > MAX_PIXELS:
        raise ImageFileError(
            f"must have at most {MAX_PIXELS:,} pixels; it has {header.width} x {header.height}"
        )
    if header.format == "PNG":
        data = pixels_alone(data, orientation)
    try:
        with Image.open(io.BytesIO(data), formats=[header.format]) as opened:
            if opened.size != (header.width, header.height):
                raise ValueError(f"its decoder finds {opened.width} x {opened.height} pixels")
            mode = opened.mode
            picture = ImageOps.exif_transpose(opened) if orientation else opened
            return picture.convert("L" if mode in ("1", "L", "LA") else "RGB")
    # Pillow's decoders answer broken files with nearly anything, SyntaxError included.
    except Exception as error:
        raise ImageFileError(f"must be a whole {header.format} file; {error}") from error


def read_image_file(path: str | os.PathLike[str]) -> bytes:
    """The content of a file that may be an image: a plain one of at most `MAX_BYTES`.

    Raises:
        ImageFileError: it is not, or cannot be read.
    """
    try:
        found = os.stat(path)  # Before it is opened: a pipe would be waited for.
        if not stat.S_ISREG(found.st_mode):
            raise ImageFileError("must be a plain file; it is none")
        if found.st_size > MAX_BYTES:
            raise ImageFileError(f"must have at most {MAX_BYTES:,} bytes; it has {found.st_size:,}")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise ImageFileError(f"must be readable; {error.strerror}") from error
