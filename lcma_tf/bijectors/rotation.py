"""A fixed rotation of the channels, decided by data before training."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.mixed_channels import mixed_channels
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.factorization.rotation import checked_rotation, nearest_rotation

__all__ = ["ChannelRotation"]


class ChannelRotation(ImageBijector):
    """Turns the channels of every pixel by one orthogonal matrix: the same for all, and not trained.

        inverse    x[i, j] = R y[i, j]            the rows of R are the new axes
        forward    y[i, j] = R^T x[i, j]
        log-det    0

    After it a *dimension* is a place and a direction of colour, no longer a place and a colour: masks
    and contributions of the levels behind it are in these coordinates. `R` is made orthogonal to float64
    precision before it is used, in whatever type the values are.

    Shapes: x and y `[..., h, w, c]`. Source: the Karhunen-Loeve transform, if fitted by
    `lcma_tf.fit_channel_rotation`.

    Args:
        matrix: R, `[c, c]`, orthogonal to 1e-5.
        event_shape: `(h, w, c)`, checked on every call; None = not checked.

    Raises:
        FactorizationError: `matrix` is not square, not finite or not orthogonal.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        quarter_turn = [[0.0, 1.0], [-1.0, 0.0]]
        rotation = lcma_tf.bijectors.ChannelRotation(quarter_turn)
        x = rotation.inverse(tf.constant([[[2.0, 3.0]]]))  # One pixel of two channels.
        assert x.numpy().tolist() == [[[3.0, -2.0]]]
        ```
    """

    causal_reach = 0

    def __init__(
        self,
        matrix: np.ndarray,
        event_shape: tuple[int, ...] | None = None,
        name: str = "channel_rotation",
    ):
        super().__init__(event_shape, name=name)
        self.matrix = nearest_rotation(checked_rotation("matrix", matrix))
        self.matrix.setflags(write=False)

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        return mixed_channels(y, tf.constant(self.matrix, y.dtype)), tf.zeros_like(y)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        return mixed_channels(x, tf.constant(self.matrix.T, x.dtype)), tf.zeros_like(x)
