"""Who holds the moving moments of an in-flow batch norm: a Keras model, or a copy without Keras."""

from __future__ import annotations

import keras
import tensorflow as tf

__all__ = ["FrozenMoments", "MovingMoments"]


@keras.saving.register_keras_serializable("lcma_tf")
class MovingMoments(keras.layers.Layer):
    """Holds the moving mean and variance `[channels]` of an in-flow batch norm for a Keras model.

    No layer to call: the bijector reads and moves the two, the model owns and saves them.

    Args:
        channels: number of channels.

    Example:
        ```python
        import numpy as np

        import lcma_tf

        moments = lcma_tf.networks.MovingMoments(channels=1)
        mean, variance = moments.tf_variables
        mask = np.indices((4, 4)).sum(axis=0)[..., None] % 2 == 0
        norm = lcma_tf.bijectors.InFlowBatchNorm(mask, moving_mean=mean, moving_variance=variance)
        assert norm.moving_mean is mean
        ```
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.moving_mean = self.add_weight(
            shape=(channels,), initializer="zeros", trainable=False, aggregation="mean", name="mean"
        )
        self.moving_variance = self.add_weight(
            shape=(channels,),
            initializer="ones",
            trainable=False,
            aggregation="mean",
            name="variance",
        )
        self.built = True

    @property
    def tf_variables(self) -> tuple[tf.Variable, tf.Variable]:
        """Mean and variance as a bijector holds them."""
        return self.moving_mean.value, self.moving_variance.value

    def frozen(self, mixed_precision: bool = False) -> FrozenMoments:
        """A copy of the moments of now; they are of the type of the density whatever is inside."""
        return FrozenMoments(self)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


class FrozenMoments(tf.Module):
    """A copy of the moments of an in-flow batch norm, for an owner that is no Keras model."""

    def __init__(self, moments: MovingMoments):
        super().__init__(name=moments.name)
        mean, variance = moments.tf_variables
        self.tf_variables = (
            tf.Variable(mean.numpy(), trainable=False),
            tf.Variable(variance.numpy(), trainable=False),
        )
