"""Who holds the weights of an `ActNorm`: a Keras model, or a copy without Keras."""

from __future__ import annotations

import keras
import tensorflow as tf

__all__ = ["ActNormWeights", "FrozenActNormWeights"]


@keras.saving.register_keras_serializable("lcma_tf")
class ActNormWeights(keras.layers.Layer):
    """Holds shift and log-scale `[channels]` of an `ActNorm`, and whether a batch has set them.

    No layer to call: the bijector reads and sets the three, the model owns, trains and saves them. A
    flow that was saved before its training begins as the data want it, one saved later does not.

    Args:
        channels: number of channels.

    Example:
        ```python
        import lcma_tf

        weights = lcma_tf.networks.ActNormWeights(channels=3)
        norm = lcma_tf.bijectors.ActNorm((4, 4, 3), *weights.tf_variables)
        assert norm.shift is weights.tf_variables[0] and not norm.initialized
        ```
    """

    moves_moments = False  # A recalibration has no work here.

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        # All replicas set the same: that of the first is that of all, to the bit.
        self.shift, self.log_scale = (
            self.add_weight(
                shape=(channels,),
                initializer="zeros",
                aggregation="only_first_replica",
                name=name,
            )
            for name in ("shift", "log_scale")
        )
        self.initialized = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="bool",
            trainable=False,
            aggregation="only_first_replica",
            name="initialized",
        )
        self.built = True

    @property
    def tf_variables(self) -> tuple[tf.Variable, tf.Variable, tf.Variable]:
        """Shift, log-scale and whether they are set, as a bijector holds them."""
        return self.shift.value, self.log_scale.value, self.initialized.value

    def frozen(self, mixed_precision: bool = False) -> FrozenActNormWeights:
        """A copy of the weights of now; they are of the type of the density whatever is inside."""
        return FrozenActNormWeights(self)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


class FrozenActNormWeights(tf.Module):
    """A copy of the weights of an `ActNorm`, for an owner that is no Keras model."""

    def __init__(self, weights: ActNormWeights):
        super().__init__(name=weights.name)
        self.tf_variables = tuple(
            tf.Variable(variable.numpy(), trainable=False) for variable in weights.tf_variables
        )
