"""The network of Glow's couplings: three convolutions, the last of which begins at zero."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.networks.inference_only import InferenceOnly
from lcma_tf.networks.parameters import split_parameters
from lcma_tf.networks.rematerialization import rematerialized

__all__ = ["FrozenGlowConditioner", "GlowConditioner"]

_SMALLEST_SCALE = 0.1


@keras.saving.register_keras_serializable("lcma_tf")
class GlowConditioner(keras.layers.Layer):
    """From what a coupling keeps to the shift and log-scale of what it changes.

        hidden = relu(conv1x1(relu(conv3x3(kept))))          with biases, `width` channels
        shift, raw = conv3x3(hidden) * exp(3 logs)           kernel, bias and logs begin at 0
        log_scale = log(0.1 + 0.9 sigmoid(raw + 2))

    So a coupling begins as the constant scale 0.89. The sigmoid is that of Glow's program, stabler than
    the paper's `exp(raw)`; the least scale of 0.1 is ours. Without it the way back divides by anything,
    and couplings drive one another: after 600 steps 2 of 64 samples of a flow with 12 of them were not
    finite (Behrmann et al. 2020, "Understanding and mitigating exploding inverses in invertible neural
    networks"). Act norms scale without a bound.

    With `max_log_scale` it is `log_scale = max_log_scale tanh(raw / max_log_scale)` instead, which
    begins as 0 and goes both ways: for a map that nothing runs back.

    Behind the hidden layers are biases alone, as in the paper (its program has act norms there). All of
    this runs in any mode as it does in training; there are no moments. With more than two parameters the
    last convolution says the others, too: zeros at the beginning.

    Source: Kingma & Dhariwal 2018, section 3.3 and appendix B, and its program's constants.

    Args:
        in_channels: channels of the input.
        out_channels: channels of shift and of log_scale.
        width: channels inside.
        num_parameters: numbers said of each output channel, at least 2: shift, log_scale, and those of
            a curve (`lcma_tf.bijectors.CurvedCoupling`).
        max_log_scale: bounds log-scales on both sides; None = by Glow's sigmoid.
        seed: of the initial kernels, by He et al. 2015.
        mixed_precision: with `training=True`, feature maps and convolutions in bfloat16; weights, input
            and output stay float32, and so does all of inference.
        rematerialize: compute what is inside anew in the backward pass of training instead of keeping
            it. A matter of the machine, not of the layer: not in its config.

    Call arguments:
        kept: `[N, h, w, in_channels]`.
        training: Python bool.
        momentum, weight: taken as any conditioner takes them, and not read.

    Output: (shift, log_scale), each `[N, h, w, out_channels]`; with more parameters (shift, log_scale,
    curve), the last `[N, h, w, out_channels, num_parameters - 2]`.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        network = lcma_tf.networks.GlowConditioner(in_channels=6, out_channels=6, width=8)
        shift, log_scale = network(tf.ones([5, 4, 4, 6]))
        assert shift.shape == log_scale.shape == (5, 4, 4, 6)
        scale = tf.exp(log_scale)  # 0.1 + 0.9 sigmoid(2): the last layer begins at 0.
        assert not tf.reduce_any(shift != 0) and tf.reduce_all(tf.abs(scale - 0.8927) < 1e-4)
        ```
    """

    moves_moments = False  # A recalibration has no work here.

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        *,
        seed: int | Sequence[int] = 0,
        mixed_precision: bool = False,
        rematerialize: bool = False,
        num_parameters: int = 2,
        max_log_scale: float | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.width = width
        self.seed = seed
        self.mixed_precision = mixed_precision
        self.rematerialize = rematerialize
        self.num_parameters = num_parameters
        self.max_log_scale = max_log_scale
        first, second = np.random.SeedSequence(seed).generate_state(2)
        self.first_kernel = self._add("first_kernel", (3, 3, in_channels, width), _he(first))
        self.first_bias = self._add("first_bias", (width,))
        self.second_kernel = self._add("second_kernel", (1, 1, width, width), _he(second))
        self.second_bias = self._add("second_bias", (width,))
        outputs = num_parameters * out_channels
        self.last_kernel = self._add("last_kernel", (3, 3, width, outputs))
        self.last_bias = self._add("last_bias", (outputs,))
        self.logs = self._add("logs", (outputs,))
        self.built = True

    def call(self, kept, training=False, momentum=0.9, weight=None):
        inputs = [kept, *(tf.convert_to_tensor(variable) for variable in self._weights)]
        if not training:
            output = _output(kept, *_folded(*inputs[1:]))
        elif self.rematerialize:
            output, _ = rematerialized(self._training_pass, inputs)
        else:
            output, _ = self._training_pass(*inputs)
        return _parameters(output, self.num_parameters, self.max_log_scale)

    def frozen(self, mixed_precision: bool = False) -> FrozenGlowConditioner:
        """The same function with the weights of now, the last scale folded."""
        return FrozenGlowConditioner(self, mixed_precision)

    @property
    def _weights(self):
        """In the order in which the functions below take them."""
        return (
            self.first_kernel,
            self.first_bias,
            self.second_kernel,
            self.second_bias,
            self.last_kernel,
            self.last_bias,
            self.logs,
        )

    def _training_pass(self, kept, *weights):
        """A function of its arguments alone, as it may run again in the backward pass."""
        weights = _folded(*weights)
        if not self.mixed_precision:
            return _output(kept, *weights), []
        narrow = [tf.cast(tensor, tf.bfloat16) for tensor in (kept, *weights)]
        return tf.cast(_output(*narrow), kept.dtype), []

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: str | keras.initializers.Initializer = "zeros",
    ):
        return self.add_weight(shape=shape, initializer=initializer, name=name)

    def get_config(self):
        return {
            **super().get_config(),
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "seed": self.seed,
            "mixed_precision": self.mixed_precision,
            "num_parameters": self.num_parameters,
            "max_log_scale": self.max_log_scale,
        }


class FrozenGlowConditioner(InferenceOnly):
    """The function of a `GlowConditioner` in inference mode, with the weights it has now.

    Args:
        conditioner: read once: later changes of its weights do not show.
        mixed_precision: feature maps and convolutions in bfloat16.
    """

    def __init__(self, conditioner: GlowConditioner, mixed_precision: bool = False):
        super().__init__(name=conditioner.name)
        inside = tf.bfloat16 if mixed_precision else tf.as_dtype(conditioner.variable_dtype)
        weights = _folded(*(tf.convert_to_tensor(v) for v in conditioner._weights))
        self._inside = inside
        self._num_parameters = conditioner.num_parameters
        self._max_log_scale = conditioner.max_log_scale
        self._folded = [tf.Variable(tf.cast(w, inside), trainable=False) for w in weights]

    def _shift_and_log_scale(self, kept):
        output = _output(tf.cast(kept, self._inside), *self._folded)
        output = tf.cast(output, kept.dtype)
        return _parameters(output, self._num_parameters, self._max_log_scale)


def _folded(first_kernel, first_bias, second_kernel, second_bias, last_kernel, last_bias, logs):
    """The weights of three plain convolutions: the scale of the last is a part of its kernel."""
    scale = tf.exp(3 * logs)
    last = last_kernel * scale, last_bias * scale
    return first_kernel, first_bias, second_kernel, second_bias, *last


def _output(kept, first_kernel, first_bias, second_kernel, second_bias, last_kernel, last_bias):
    hidden = tf.nn.relu(_conv(kept, first_kernel, first_bias))
    hidden = tf.nn.relu(_conv(hidden, second_kernel, second_bias))
    return _conv(hidden, last_kernel, last_bias)


def _parameters(output, num_parameters, max_log_scale):
    shift, raw, *curve = split_parameters(output, num_parameters)
    if max_log_scale is not None:
        return shift, max_log_scale * tf.tanh(raw / max_log_scale), *curve
    least = _SMALLEST_SCALE
    return shift, tf.math.log(least + (1 - least) * tf.sigmoid(raw + 2)), *curve


def _conv(x, kernel, bias):
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, strides=1, padding="SAME"), bias)


def _he(seed):
    return keras.initializers.HeNormal(seed=int(seed))
