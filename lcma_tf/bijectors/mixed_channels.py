"""One matrix for the channels of every pixel, whoever the matrix is."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["mixed_channels"]


def mixed_channels(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """`matrix @ pixel` for every pixel of `[N, h, w, c]`, as one product; `matrix` is `[c, c]`.

    Raises:
        ValueError: images of another number of channels.
    """
    if images.shape[-1] != matrix.shape[0]:
        raise ValueError(f"Images must have {matrix.shape[0]} channels; got {images.shape[-1]}.")
    rows = tf.reshape(images, [-1, images.shape[-1]])
    mixed = tf.matmul(rows, tf.cast(matrix, images.dtype), transpose_b=True)
    return tf.ensure_shape(tf.reshape(mixed, tf.shape(images)), images.shape)
