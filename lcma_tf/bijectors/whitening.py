"""A fixed linear map of images by their pixels' neighbours, decided by data before training."""

from __future__ import annotations

from typing import Unpack

import numpy as np
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

    K is the kernel of a `Whitening`, (0, 0) its own pixel. `inverse` is a matrix product for each row of
    the kernel; `forward` solves one row of the image after the other, in as many steps. After it a
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
        height, width, channels = event_shape
        self._rows = (height, width * channels)
        *self._above, self._own = whitening.row_matrices(width)
        self._own_inverted = np.linalg.inv(self._own)

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        height, size = self._rows
        rows = tf.reshape(y - tf.constant(self.whitening.mean, y.dtype), [-1, height, size])
        padded = tf.pad(rows, [[0, 0], [len(self._above), 0], [0, 0]])
        shifted = [padded[:, index : index + height] for index in range(len(self._above))]
        x = _product(rows, self._own) + tf.add_n(list(map(_product, shifted, self._above)))
        return tf.reshape(x, tf.shape(y)), self._terms(y, 1.0)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        height, size = self._rows
        rows = tf.transpose(tf.reshape(x, [-1, height, size]), [1, 0, 2])

        def solve(above, row):
            known = tf.add_n(list(map(_product, above, self._above)))
            return (*above[1:], _product(row - known, self._own_inverted))

        solved = tf.scan(solve, rows, tuple(tf.zeros_like(rows[0]) for _ in self._above))[-1]
        y = tf.reshape(tf.transpose(solved, [1, 0, 2]), tf.shape(x))
        return y + tf.constant(self.whitening.mean, x.dtype), self._terms(x, -1.0)

    def _terms(self, images, sign):
        return tf.zeros_like(images) + tf.constant(sign * self.whitening.log_scale, images.dtype)


def _product(rows: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """`rows @ matrix`, `[..., k]`, as one product."""
    flat = tf.reshape(rows, [-1, matrix.shape[0]])
    return tf.reshape(tf.matmul(flat, tf.constant(matrix, rows.dtype)), tf.shape(rows))
