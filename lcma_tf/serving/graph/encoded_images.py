"""PNG and JPEG files to pixels inside a graph: looked at before they are decoded.

TensorFlow's decoders take more than they are named for, convert without a word what has other channels,
and allocate what a header claims. Here a file's magic bytes and header must say what is wanted first.
"""

from __future__ import annotations

import struct

import tensorflow as tf

from lcma_tf.serving.client.image_files import (
    JPEG_COMPONENTS,
    JPEG_MAGIC,
    PNG_COLOURS,
    PNG_HEADER_BYTES,
    PNG_MAGIC,
)

__all__ = ["FILE_CHANNELS", "JPEG_METHODS", "decode_images"]

JPEG_METHODS = ("INTEGER_ACCURATE", "INTEGER_FAST")
FILE_CHANNELS = tuple(PNG_COLOURS)  # Of images that there are such files of.


def decode_images(
    image_bytes: tf.Tensor, image_shape: tuple[int, ...], jpeg_method: str
) -> tf.Tensor:
    """Files `[N]` to uint8 images `[N, H, W, C]`, each decoded by itself.

    Grey files of a colour flow become three equal channels; transparency is dropped; a camera's
    orientation mark is not obeyed. Fails (INVALID_ARGUMENT) at a file that is no PNG or JPEG, of other
    sides than `H x W`, of more than 8 bits a channel, of colours that a grey flow does not know, or
    torn.

    Args:
        image_bytes: string `[N]`.
        image_shape: `(H, W, C)`, C of `FILE_CHANNELS`.
        jpeg_method: one of `JPEG_METHODS`.
    """

    def decode(file: tf.Tensor) -> tf.Tensor:
        is_png = tf.strings.substr(file, 0, len(PNG_MAGIC)) == PNG_MAGIC
        image = tf.cond(
            is_png,
            lambda: _decode_png(file, image_shape),
            lambda: _decode_jpeg(file, image_shape, jpeg_method),
        )
        return tf.ensure_shape(image, image_shape)

    spec = tf.TensorSpec(image_shape, tf.uint8)
    return tf.map_fn(decode, image_bytes, fn_output_signature=spec)


def _decode_png(file, image_shape):
    height, width, channels = image_shape
    # `substr` would refuse what is shorter too, but with the file's bytes in its message.
    has_header = tf.strings.length(file) >= PNG_HEADER_BYTES
    with tf.control_dependencies([_assert(has_header, "image_bytes: a PNG must have a header")]):
        file = tf.identity(file)
    header = tf.strings.substr(file, 12, 12)
    wanted = b"IHDR" + struct.pack(">II", width, height)
    depth_and_colour = tf.io.decode_raw(tf.strings.substr(file, 24, 2), tf.uint8)
    colours = PNG_COLOURS[channels]
    checks = [
        _assert(header == wanted, f"image_bytes: a PNG must be {width}x{height} pixels"),
        _assert(depth_and_colour[0] <= 8, "image_bytes: a PNG must have 8 bits a channel"),
        _assert(
            tf.reduce_any(depth_and_colour[1] == tf.constant(colours, tf.uint8)),
            f"image_bytes: a PNG's colour type must be one of {colours}",
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.io.decode_png(tf.identity(file), channels=channels)


def _decode_jpeg(file, image_shape, jpeg_method):
    height, width, channels = image_shape
    is_jpeg = tf.strings.substr(file, 0, len(JPEG_MAGIC)) == JPEG_MAGIC
    with tf.control_dependencies([_assert(is_jpeg, "image_bytes: must be a PNG or a JPEG file")]):
        found = tf.io.extract_jpeg_shape(tf.identity(file))
    known = JPEG_COMPONENTS[channels]
    checks = [
        _assert(
            tf.reduce_all(found[:2] == [height, width]),
            f"image_bytes: a JPEG must be {width}x{height} pixels",
        ),
        _assert(
            tf.reduce_any(found[2] == tf.constant(known)),
            f"image_bytes: a JPEG's number of channels must be one of {known}",
        ),
    ]
    with tf.control_dependencies(checks):
        return tf.io.decode_jpeg(tf.identity(file), channels=channels, dct_method=jpeg_method)


def _assert(condition, message):
    return tf.debugging.Assert(condition, [message])
