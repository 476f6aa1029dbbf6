"""Bits/dim: the loss in nats that training minimizes, and the figure, in parts, that it reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from lcma_tf.replicas import gradient_by_rows

__all__ = ["BitsPerDim", "NegativeLogLikelihood", "nats_to_bits_per_dim"]


def nats_to_bits_per_dim(log_prob, num_dimensions: int):
    """`-log_prob / (D log 2)`: nats per image to bits/dim; for arrays and tensors.

    The log-probability is that of pixels in 0..256, so no `log 256` is missing.
    """
    return log_prob * (-1.0 / (num_dimensions * math.log(2.0)))


@keras.saving.register_keras_serializable("lcma_tf")
class NegativeLogLikelihood(keras.losses.Loss):
    """Mean over the batch of minus the log-probability, in **nats per image**.

    On this scale the original program clips gradients (global norm 100) and adds its L2 term; a loss
    in bits/dim would be some thousand times smaller and never be clipped. `y_pred` are the parts of
    the log-probability, `[N, parts]`, that `FlowModel.call` returns; `y_true` is not read. Under several
    replicas its gradient is that of the mean over the global batch, however the images are dealt out.

    Example:
        ```python
        import lcma_tf

        loss = lcma_tf.NegativeLogLikelihood()
        parts = [[-30.0, 10.0], [-50.0, 10.0]]  # Nats [N, parts]: of log p -20 and -40.
        assert float(loss(parts, parts)) == 30.0
        ```
    """

    def __init__(
        self,
        reduction="sum_over_batch_size",
        name="negative_log_likelihood",
        dtype="float32",  # Not Keras' floatx: 16 bits end below the nats of an image.
        **kwargs,
    ):
        super().__init__(reduction=reduction, name=name, dtype=dtype, **kwargs)

    def call(self, y_true, y_pred):
        if self.reduction in ("sum_over_batch_size", "mean"):
            y_pred = gradient_by_rows(y_pred)
        return -tf.reduce_sum(y_pred, axis=-1)


@keras.saving.register_keras_serializable("lcma_tf")
class BitsPerDim(keras.metrics.Metric):
    """Mean bits/dim over all images seen, and beside it each part's share; the shares add up to it.

    One vector of sums instead of one metric for each part, so that a training step stays lean.

    Args:
        part_names: names of the parts of the log-probability, in order.
        num_dimensions: H * W * C.

    Result: dict of float scalars: `bits_per_dim` and every name of `part_names`, in bits/dim.
    """

    def __init__(
        self,
        part_names: Sequence[str],
        num_dimensions: int,
        name: str = "bits_per_dim",
        dtype: str = "float32",  # Not Keras' floatx: 16 bits cannot count the images of an epoch.
        **kwargs,
    ):
        super().__init__(name=name, dtype=dtype, **kwargs)
        self.part_names = list(part_names)
        self.num_dimensions = num_dimensions
        self.total = self.add_weight(
            shape=(len(self.part_names),), initializer="zeros", dtype=dtype, name="total"
        )
        self.count = self.add_weight(shape=(), initializer="zeros", dtype=dtype, name="count")

    def update_state(self, parts, sample_weight=None):
        """Adds a batch: `parts` `[N, len(part_names)]` in nats."""
        parts = tf.cast(parts, self.total.dtype)
        self.total.assign_add(tf.reduce_sum(parts, axis=0))
        self.count.assign_add(tf.cast(tf.shape(parts)[0], self.count.dtype))

    def result(self):
        mean = nats_to_bits_per_dim(
            tf.math.divide_no_nan(
                tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count)
            ),
            self.num_dimensions,
        )
        shares = dict(zip(self.part_names, tf.unstack(mean), strict=True))
        return {"bits_per_dim": tf.reduce_sum(mean), **shares}

    def get_config(self):
        return {
            **super().get_config(),
            "part_names": self.part_names,
            "num_dimensions": self.num_dimensions,
        }
