"""A fixed linear map of images by their pixels' neighbours, decided by data before training."""

from __future__ import annotations

from typing import Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.factorization.whitening import Whitening

__all__ = ["CausalWhitening"]


class CausalWhitening(ImageBijector):
    """Leaves of each pixel what the pixels above and to the left do not say of it; not trained.

        inverse    x[i, j] = sum over neighbours (a, b) and (0, 0) of K[a, b]^T (y[i + a, j + b] - mean)
        forward    y[i, j] from those above and to the left, row by row
        log-det    inverse: log K[0, 0][n, n] at every dimension of channel n; forward: its negative

    K is the kernel of a `Whitening`, (0, 0) its own pixel. `inverse` is one convolution; `forward` finds
    one row of the image after the other, in as many steps. After it a
    *dimension* is a place and what a predictor from its neighbours has left of a channel there, in units
    of its standard deviation: masks and contributions behind it are in these coordinates.

    Shapes: x and y `[..., h, w, c]`. Source: linear prediction by least squares, as in lossless coding
    of images; the flow behind it codes what is left.

    Args:
        whitening: the map, such as `lcma_tf.fit_whitening` fits.
        event_shape: `(h, w, c)`, checked on every call.

    Raises:
        ValueError: `event_shape` has other channels.

    Example:
        ```python
        import numpy as np
        import tensorflow as tf

        import lcma_tf
        from lcma_tf.factorization import Whitening

        kernel = np.zeros((2, 3, 1, 1))
        kernel[1, 1], kernel[1, 0] = 1.0, -1.0  # Each pixel less its left neighbour.
        whitening = lcma_tf.bijectors.CausalWhitening(Whitening(kernel, mean=[0.0]), (2, 2, 1))
        y = whitening.forward(tf.ones([1, 2, 2, 1]))
        assert y[0, ..., 0].numpy().tolist() == [[1.0, 2.0], [1.0, 2.0]]
        ```
    """

    def __init__(
        self, whitening: Whitening, event_shape: tuple[int, ...], name: str = "causal_whitening"
    ):
        if event_shape[-1] != whitening.num_channels:
            raise ValueError(
                f"`event_shape` must have {whitening.num_channels} channels, as the whitening; "
                f"got {tuple(event_shape)}."
            )
        super().__init__(event_shape, name=name)
        self.whitening = whitening
        # Turned around, as the convolutions of TensorFlow are none.
        self._response = whitening.row_response(event_shape[1])[::-1]

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        reach = len(self.whitening.kernel) - 1
        centred = y - tf.constant(self.whitening.mean, y.dtype)
        around = [[0, 0], [reach, 0], [reach, reach], [0, 0]]
        x = tf.nn.conv2d(centred, tf.constant(self.whitening.kernel, y.dtype), 1, around)
        return x, self._terms(y, 1.0)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        reach, width = len(self.whitening.kernel) - 1, x.shape[2]
        from_above = tf.constant(self.whitening.kernel[:-1], x.dtype)
        response = tf.constant(self._response, x.dtype)
        beside = [[0, 0], [0, 0], [reach, reach], [0, 0]]

        def find(above, row):
            """The next row, behind those above it, `[N, reach, w, c]`, from what is left of it."""
            row -= tf.squeeze(tf.nn.conv2d(above, from_above, 1, beside), 1)
            row = tf.nn.conv1d(tf.pad(row, [[0, 0], [width - 1, 0], [0, 0]]), response, 1, "VALID")
            return tf.concat([above[:, 1:], row[:, tf.newaxis]], axis=1)

        rows = tf.transpose(x, [1, 0, 2, 3])
        above = tf.zeros([tf.shape(x)[0], reach, *x.shape[2:]], x.dtype)
        found = tf.scan(find, rows, above)
        y = tf.transpose(found[:, :, -1], [1, 0, 2, 3])
        return y + tf.constant(self.whitening.mean, x.dtype), self._terms(x, -1.0)

    def _terms(self, images, sign):
        return tf.zeros_like(images) + tf.constant(sign * self.whitening.log_scale, images.dtype)
