"""One small convolution that says what to expect of the exits of a level, given what stays."""

from __future__ import annotations

import keras
import tensorflow as tf

from lcma_tf.networks.inference_only import InferenceOnly

__all__ = ["ExitConditioner", "FrozenExitConditioner"]

# Bounds log-scales: in the units of a flow whose batch norms have just been, e**3 is far from any that
# data ask for, and an image unlike all others must not overflow what comes back.
_LIMIT = 3.0


@keras.saving.register_keras_serializable("lcma_tf")
class ExitConditioner(keras.layers.Layer):
    """From what stays to the shift and log-scale of what exits, by a 3x3 convolution.

        shift, raw = conv(kept) + bias      log_scale = 3 tanh(raw / 3)

    Kernel and bias begin as zeros: a new one leaves the exits as they are, N(0, 1). For a
    `lcma_tf.bijectors.ConditionalExit`.

    Args:
        channels: of what stays, and of what exits.

    Call arguments:
        kept: `[N, h, w, channels]`.
        training, momentum, weight: taken as every conditioner's are, and not read: nothing here depends
            on the batch.

    Output: (shift, log_scale), each `[N, h, w, channels]`.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        network = lcma_tf.networks.ExitConditioner(channels=6)
        shift, log_scale = network(tf.ones([5, 4, 4, 6]))
        assert shift.shape == log_scale.shape == (5, 4, 4, 6) and not tf.reduce_any(shift != 0)
        ```
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.kernel = self.add_weight(
            shape=(3, 3, channels, 2 * channels), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(shape=(2 * channels,), initializer="zeros", name="bias")
        self.built = True

    def call(self, kept, training=False, momentum=0.9, weight=None):
        return _shift_and_log_scale(kept, *map(tf.convert_to_tensor, (self.kernel, self.bias)))

    def frozen(self, mixed_precision: bool = False) -> FrozenExitConditioner:
        """A copy of the weights of now; one convolution stays in the type of the density."""
        return FrozenExitConditioner(self)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}


class FrozenExitConditioner(InferenceOnly):
    """The function of an `ExitConditioner` with the weights it has now, without Keras."""

    def __init__(self, conditioner: ExitConditioner):
        super().__init__(name=conditioner.name)
        self._kernel, self._bias = (
            tf.Variable(weight.value.numpy(), trainable=False)
            for weight in (conditioner.kernel, conditioner.bias)
        )

    def _shift_and_log_scale(self, kept):
        return _shift_and_log_scale(kept, self._kernel, self._bias)


def _shift_and_log_scale(kept, kernel, bias):
    output = tf.nn.bias_add(tf.nn.conv2d(kept, kernel, 1, "SAME"), bias)
    shift, raw = tf.split(output, 2, axis=-1)
    return shift, _LIMIT * tf.tanh(raw / _LIMIT)
