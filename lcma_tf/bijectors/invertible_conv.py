"""The invertible 1x1 convolution: one trained matrix mixes the channels of every pixel."""

from __future__ import annotations

from typing import Protocol, Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.coupling import tf_variables
from lcma_tf.bijectors.mixed_channels import mixed_channels
from lcma_tf.bijectors.pass_options import PassOptions

__all__ = ["InvertibleConv", "InvertibleMatrix"]


class InvertibleMatrix(Protocol):
    """A matrix W `[c, c]` that knows its inverse and its determinant.

    `lcma_tf.networks.LUMatrix` is a trained one.
    """

    def matrix(self) -> tf.Tensor:
        """W."""
        ...

    def inverse(self) -> tf.Tensor:
        """Of W."""
        ...

    def log_abs_det(self) -> tf.Tensor:
        """`log |det W|`, `[]`, nats."""
        ...


class InvertibleConv(ImageBijector):
    """Multiplies the channels of every pixel by one matrix W: a 1x1 convolution.

        inverse    x[i, j] = W y[i, j]
        forward    y[i, j] = W^-1 x[i, j]
        log-det    inverse: log |det W| / c for each of the c dimensions of a pixel; forward: its
                   negative (nats)

    What a mixture does to volume belongs to no single channel, so the terms of a pixel share it
    equally, and a *dimension* behind it is a place and a mixture of channels. Shapes: x and y
    `[..., h, w, c]`.

    Source: Kingma & Dhariwal 2018, section 3.2, equations 9 to 11.

    Args:
        matrix: W, an `InvertibleMatrix`. Variables of a Keras layer appear among this bijector's own.
        event_shape: `(h, w, c)`, checked on every call.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        matrix = lcma_tf.networks.LUMatrix(channels=3)
        mix = lcma_tf.bijectors.InvertibleConv(matrix, event_shape=(4, 4, 3))
        y = tf.random.stateless_normal([5, 4, 4, 3], seed=(0, 1))
        x, terms = mix.inverse_and_terms(y)
        # It begins as a rotation: lengths and volumes stay what they are.
        assert tf.reduce_max(tf.abs(tf.norm(x, axis=-1) - tf.norm(y, axis=-1))) < 1e-5
        assert tf.reduce_max(tf.abs(terms)) < 1e-5
        ```
    """

    causal_reach = 0

    def __init__(
        self,
        matrix: InvertibleMatrix,
        event_shape: tuple[int, ...],
        name: str = "invertible_conv",
    ):
        super().__init__(tuple(event_shape), name=name)
        # Not tracked, as the conditioner of an `AffineCoupling` is not.
        self._matrix: InvertibleMatrix = self._no_dependency(matrix)
        self._matrix_variables = tf_variables(matrix)

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        return mixed_channels(y, self._matrix.matrix()), self._terms(y, 1)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        return mixed_channels(x, self._matrix.inverse()), self._terms(x, -1)

    def _terms(self, images, sign):
        log_det = tf.cast(self._matrix.log_abs_det(), images.dtype)
        return tf.fill(tf.shape(images), log_det * (sign / images.shape[-1]))
