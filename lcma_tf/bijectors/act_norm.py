"""Activation normalization: a scale and a shift a channel, which begin as the data want them."""

from __future__ import annotations

from typing import Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.replicas import num_replicas, replica_mean

__all__ = ["ActNorm"]

# Added to the variance: a channel that does not vary yet is not scaled without bound.
_EPSILON = 1e-6


class ActNorm(ImageBijector):
    """Shifts and scales every channel; the first batch of training decides where both begin.

        inverse    x[i, j] = (y[i, j] + shift) * exp(log_scale)
        forward    y[i, j] = x[i, j] * exp(-log_scale) - shift
        log-det    inverse: log_scale at every pixel; forward: its negative (nats)

    The first `inverse` with `training=True` sets shift and log_scale such that its batch leaves with
    mean 0 and variance 1 in every channel (of all replicas together, `weight` 0 leaves this one out),
    and `initialized` to True. From then on, and in any other pass, they are weights as all others: no
    pass depends on who else is in the batch. A flow that was never trained has shift and log_scale 0,
    the identity.

    Source: Kingma & Dhariwal 2018, section 3.1. Shapes: `[..., h, w, c]`.

    Args:
        event_shape: `(h, w, c)`.
        shift: trained variable `[c]`, for an owner that keeps it elsewhere (a Keras model); None = all
            three are made here.
        log_scale: likewise.
        initialized: variable `[]`, bool, not trained.
        dtype: of the variables made here.

    Raises:
        ValueError: some of the three variables are given, but not all.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        norm = lcma_tf.bijectors.ActNorm(event_shape=(4, 4, 1))
        y = 7.0 + 3.0 * tf.random.stateless_normal([64, 4, 4, 1], seed=(0, 1))
        x = norm.inverse(y, training=True)
        assert norm.initialized and abs(tf.reduce_mean(x)) < 1e-5
        assert abs(tf.math.reduce_std(x) - 1.0) < 1e-5
        ```
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        shift: tf.Variable | None = None,
        log_scale: tf.Variable | None = None,
        initialized: tf.Variable | None = None,
        *,
        dtype: tf.DType = tf.float32,
        name: str = "act_norm",
    ):
        super().__init__(tuple(event_shape), name=name)
        given = [variable is not None for variable in (shift, log_scale, initialized)]
        if any(given) and not all(given):
            raise ValueError(
                "`shift`, `log_scale` and `initialized` must be given together or not at all; "
                f"got {sum(given)} of them."
            )
        channels = event_shape[-1]
        self.shift = (
            tf.Variable(tf.zeros(channels, dtype), name="shift") if shift is None else shift
        )
        if log_scale is None:
            log_scale = tf.Variable(tf.zeros(channels, dtype), name="log_scale")
        if initialized is None:
            initialized = tf.Variable(False, trainable=False, name="initialized")
        self.log_scale = log_scale
        self.initialized = initialized

    @property
    def changed_positions(self):
        return True

    def _inverse_and_terms(self, y, training=False, momentum=0.9, weight=None):
        if training:
            # Behind this the variables are read anew: of the first batch, too, the gradient is theirs.
            self._begin(y, weight)
        shift, log_scale = self._shift_and_log_scale(y.dtype)
        return (y + shift) * tf.exp(log_scale), tf.broadcast_to(log_scale, tf.shape(y))

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        shift, log_scale = self._shift_and_log_scale(x.dtype)
        return x * tf.exp(-log_scale) - shift, tf.broadcast_to(-log_scale, tf.shape(x))

    def _shift_and_log_scale(self, dtype):
        variables = self.shift, self.log_scale
        return [tf.cast(tf.convert_to_tensor(variable), dtype) for variable in variables]

    def _begin(self, y, weight) -> None:
        """Sets the variables by a batch, if none has."""
        known = tf.convert_to_tensor(self.initialized)
        if num_replicas() == 1:
            tf.cond(known, lambda: known, lambda: self._set(*_moments(y)))
            return
        # Replicas may meet only outside of a branch. So they always do, over two numbers a channel, and
        # a branch decides whether those are worth the pass over the batch.
        mean, variance = tf.cond(known, lambda: _zeros(y), lambda: _moments(y))
        rows = tf.cast(tf.shape(y)[0], y.dtype)
        rows = rows if weight is None else rows * tf.cast(weight, y.dtype)
        mean_of_all = replica_mean(mean[None], [0], rows)
        variance_of_all = replica_mean((variance + (mean - mean_of_all) ** 2)[None], [0], rows)
        self._set(mean_of_all, variance_of_all, tf.cast(known, self.shift.dtype))

    def _set(self, mean, variance, kept: tf.Tensor | float = 0.0) -> tf.Tensor:
        """Takes on the moments; with `kept` 1 all stays as it is, to the bit."""
        log_std = 0.5 * tf.math.log(variance + _EPSILON)
        for variable, moment in ((self.shift, mean), (self.log_scale, log_std)):
            change = tf.cast(-tf.stop_gradient(moment), variable.dtype) - variable
            variable.assign_add(change * (1 - kept))
        self.initialized.assign(True)
        return tf.constant(True)


def _moments(y):
    """Mean and variance `[c]` of the rows of this replica."""
    mean = tf.reduce_mean(y, [0, 1, 2])
    return mean, tf.reduce_mean(tf.square(y - mean), [0, 1, 2])


def _zeros(y):
    zeros = tf.zeros(y.shape[-1], y.dtype)
    return zeros, zeros
