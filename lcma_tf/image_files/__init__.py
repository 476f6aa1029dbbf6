"""PNG and JPEG files to pixels: the one place where a picture from a stranger is opened.

Asked to open a file, Pillow tries every format that it knows, whatever the file is called; one of them
(EPS) starts a program. Here only the two that are promised are tried, and Pillow sees a file only after
its own header has said that it is worth decoding. No TensorFlow.
"""

from lcma_tf.image_files.decode import (
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    decode_image,
    read_header,
    read_image_file,
)
from lcma_tf.image_files.header import ImageFileError, ImageHeader
from lcma_tf.image_files.png import has_transparency

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "ImageFileError",
    "ImageHeader",
    "decode_image",
    "has_transparency",
    "read_header",
    "read_image_file",
]
