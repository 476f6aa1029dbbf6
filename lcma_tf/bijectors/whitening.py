"""A fixed linear map of images by their pixels' neighbours, decided by data before training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.factorization.whitening import Whitening
from lcma_tf.integers import is_integer

__all__ = ["CausalWhitening"]


class CausalWhitening(ImageBijector):
    """Leaves of each pixel what those before it in raster order do not say of it; not trained.

        inverse    x[i, j] = sum over (a, b) of K[a, b]^T (y[i + a - r, j + b - r] - mean)
        forward    y[i, j] from those before it, row by row
        log-det    inverse: log K[r, r][n, n] at every dimension of channel n; forward: its negative

    K is the kernel of a `Whitening` of reach r, which says what lies before a pixel. `inverse` is one
    convolution; `forward` finds one row of the image after the other, in as many steps. Both are
    computed in float64 whatever the type of the images: what one rounds away the other would enlarge.
    After it a *dimension* is a place and what a predictor from its neighbours has left of a channel
    there, in units of its standard deviation: masks and contributions are in these coordinates.

    Shapes: x and y `[..., h, w, c]`. Source: linear prediction by least squares, as in lossless coding
    of images; the flow behind it codes what is left.

    Args:
        whitening: the map, such as `lcma_tf.fit_whitening` fits.
        event_shape: `(h, w, c)`, checked on every call.

    Raises:
        ValueError: `whitening` is none, or `event_shape` no shape of images of its channels.

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
        if not isinstance(whitening, Whitening):
            raise ValueError(f"`whitening` must be a Whitening; got {type(whitening).__name__}.")
        shape: tuple = tuple(event_shape) if isinstance(event_shape, Iterable) else ()
        is_shape = len(shape) == 3 and all(is_integer(size) and size >= 1 for size in shape)
        if not is_shape or shape[-1] != whitening.num_channels:
            raise ValueError(
                f"`event_shape` must be (h, w, {whitening.num_channels}), with the channels of the "
                f"whitening; got {event_shape}."
            )
        super().__init__(shape, name=name)
        self.whitening = whitening
        self.causal_reach = whitening.reach
        # Turned around: convolutions of TensorFlow are correlations.
        self._response = whitening.row_response(shape[1])[::-1]

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        reach, kernel = self.whitening.reach, tf.constant(self.whitening.kernel, tf.float64)
        centred = tf.cast(y, tf.float64) - tf.constant(self.whitening.mean, tf.float64)
        around = [[0, 0], [reach, 0], [reach, reach], [0, 0]]
        x = tf.nn.conv2d(centred, kernel, 1, around)
        return tf.cast(x, y.dtype), self._terms(y, 1.0)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        reach, width = self.whitening.reach, x.shape[2]
        from_above = tf.constant(self.whitening.kernel[:-1], tf.float64)
        response = tf.constant(self._response, tf.float64)
        beside = [[0, 0], [0, 0], [reach, reach], [0, 0]]

        def find(above, row):
            """The rows above the next but one, `[N, reach, w, c]`, from what is left of the next."""
            row -= tf.nn.conv2d(above, from_above, 1, beside)[:, 0]
            row = tf.nn.conv1d(tf.pad(row, [[0, 0], [width - 1, 0], [0, 0]]), response, 1, "VALID")
            return tf.concat([above[:, 1:], row[:, tf.newaxis]], axis=1)

        rows = tf.transpose(tf.cast(x, tf.float64), [1, 0, 2, 3])
        above = tf.zeros([tf.shape(x)[0], reach, *x.shape[2:]], tf.float64)
        found = tf.scan(find, rows, above)[:, :, -1]
        y = tf.transpose(found, [1, 0, 2, 3]) + tf.constant(self.whitening.mean, tf.float64)
        return tf.cast(y, x.dtype), self._terms(x, -1.0)

    def _terms(self, images, sign):
        return tf.zeros_like(images) + tf.constant(sign * self.whitening.log_scale, images.dtype)
