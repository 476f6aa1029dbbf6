"""Batch normalization as a layer of the flow, its log-det counted."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.checked_mask import checked_mask
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.moving_averages import move_averages
from lcma_tf.replicas import replica_mean

__all__ = ["InFlowBatchNorm"]


class InFlowBatchNorm(ImageBijector):
    """Normalizes, channel by channel, the positions that a coupling has just changed.

        inverse    x[~mask] = (y[~mask] - mean) / sqrt(variance + epsilon)      x[mask] = y[mask]
        forward    y[~mask] = x[~mask] * sqrt(variance + epsilon) + mean        y[mask] = x[mask]
        log-det    inverse: -0.5 log(variance + epsilon) at ~mask, 0 elsewhere (nats)

    With `training=True`, `inverse` normalizes by the moments of the batch (of all replicas together,
    `weight` 0 leaves this one out), lets gradients through them, and moves the moving ones: `moving =
    momentum * moving + (1 - momentum) * batch`. That gradient is written out and has none of its own
    through the moments. Otherwise, and always in `forward`, the moving moments are used: a pure function
    of the image. `forward` with `training=True` is refused, since no batch of latents has the moments of
    the batch of data that it came from.

    Source: Dinh et al. 2016, section 3.7 and appendix E. Shapes: `[..., h, w, c]`.

    Args:
        mask: bool array `[h, w, c]`, True = untouched, as in the coupling before; not all True.
        moments: `changed`: over the changed positions. `all`: over all positions, with zeros at the
            untouched ones, as the RealNVP program takes them; under a checkerboard that halves the
            variance, and the changed half leaves with a variance of about 2.
        moving_mean: variable `[c]`, for an owner that keeps it elsewhere (a Keras model); None = made
            here.
        moving_variance: likewise.
        epsilon: added to the variance.
        dtype: of the variables made here.

    Raises:
        ValueError: a bad `mask` or `moments`, or `forward(training=True)`.

    Example:
        ```python
        import numpy as np
        import tensorflow as tf

        import lcma_tf

        mask = np.indices((4, 4)).sum(axis=0)[..., None] % 2 == 0
        norm = lcma_tf.bijectors.InFlowBatchNorm(mask)
        y = 7.0 + tf.random.stateless_normal([64, 4, 4, 1], seed=(0, 1))
        x = norm.inverse(y, training=True)  # By the moments of this batch, which move the moving ones.
        assert abs(tf.reduce_mean(tf.boolean_mask(x, ~mask, axis=1))) < 1e-5
        ```
    """

    def __init__(
        self,
        mask: np.ndarray,
        moments: str = "changed",
        moving_mean: tf.Variable | None = None,
        moving_variance: tf.Variable | None = None,
        *,
        epsilon: float = 1e-4,
        dtype: tf.DType = tf.float32,
        name: str = "in_flow_batch_norm",
    ):
        mask = checked_mask(mask)
        if mask.all():
            raise ValueError("`mask` must leave some positions to normalize; got all True.")
        if moments not in ("changed", "all"):
            raise ValueError(f"`moments` must be 'changed' or 'all'; got {moments!r}.")
        super().__init__(mask.shape, name=name)
        channels = mask.shape[-1]
        if moving_mean is None:
            moving_mean = tf.Variable(tf.zeros(channels, dtype), trainable=False, name="mean")
        if moving_variance is None:
            moving_variance = tf.Variable(
                tf.ones(channels, dtype), trainable=False, name="variance"
            )
        self.moving_mean = moving_mean
        self.moving_variance = moving_variance
        self._epsilon = epsilon
        self._changed = ~mask
        # What each changed position weighs in the mean over an image, and the zeros together.
        num_positions = np.maximum(np.count_nonzero(~mask, axis=(0, 1)), 1)
        self._zeros_share = np.zeros(channels)
        if moments == "all":
            num_positions = np.full(channels, mask.shape[0] * mask.shape[1])
            self._zeros_share = mask.mean(axis=(0, 1))
        self._weights = np.where(mask, 0.0, 1.0 / num_positions)

    @property
    def changed_positions(self):
        return self._changed

    def _inverse_and_terms(self, y, training=False, momentum=0.9, weight=None):
        if training:
            return self._by_batch(y, momentum, weight)
        mean = tf.convert_to_tensor(self.moving_mean)
        variance = tf.convert_to_tensor(self.moving_variance)
        mean, log_std = self._at_changed(mean, variance, y.dtype)
        return (y - mean) * tf.exp(-log_std), tf.broadcast_to(-log_std, tf.shape(y))

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        if options.get("training"):
            raise ValueError(
                f"{self.name}: `forward` has no training mode: it always uses the moving moments; "
                "got training=True."
            )
        mean, log_std = self._at_changed(
            tf.convert_to_tensor(self.moving_mean),
            tf.convert_to_tensor(self.moving_variance),
            x.dtype,
        )
        return x * tf.exp(log_std) + mean, tf.broadcast_to(log_std, tf.shape(x))

    def _at_changed(self, mean, variance, dtype):
        """Mean and log standard deviation over the image `[h, w, c]`, zero where nothing changes."""
        changed = tf.constant(self._changed, dtype)
        log_std = 0.5 * tf.math.log(tf.cast(variance, dtype) + self._epsilon)
        return tf.cast(mean, dtype) * changed, log_std * changed

    def _by_batch(self, y, momentum, weight):
        """`inverse` by the moments of the batch, which move the moving ones."""
        weights, changed = tf.constant(self._weights, y.dtype), tf.constant(self._changed, y.dtype)
        # Their part in the gradient is written out below.
        mean, variance = self._batch_moments(tf.stop_gradient(y), weights, weight)
        move_averages((self.moving_mean, self.moving_variance), (mean, variance), momentum)
        minus_log_std = -0.5 * tf.math.log(variance + self._epsilon)
        inverse_std = tf.exp(minus_log_std)

        @tf.custom_gradient
        def normalize(y):
            terms = minus_log_std * changed
            scale = tf.exp(terms)
            x = (y - mean * changed) * scale

            def backward(by_x, by_terms):
                # Through the batch's mean and its standard deviation; the latter does not depend on
                # the former, so that a sum for each is all.
                parts = (by_x, by_x * x + by_terms)
                rows = tf.concat([tf.reduce_sum(part * changed, [1, 2]) for part in parts], 1)
                by_mean, by_log_std = tf.split(replica_mean(rows, [0], weight), 2)
                through = weights * inverse_std
                if weight is not None:
                    through *= tf.cast(weight, y.dtype)
                return by_x * scale - through * (by_mean + by_log_std * x)

            return (x, tf.broadcast_to(terms, tf.shape(y))), backward

        return normalize(y)

    def _batch_moments(self, y, weights, weight):
        mean = replica_mean(tf.reduce_sum(y * weights, [1, 2]), [0], weight)
        squares = tf.reduce_sum(tf.square(y - mean) * weights, [1, 2])
        variance = replica_mean(squares, [0], weight)
        if self._zeros_share.any():
            variance += tf.constant(self._zeros_share, y.dtype) * tf.square(mean)
        return mean, variance
