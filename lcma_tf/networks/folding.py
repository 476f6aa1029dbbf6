"""Conditioners for inference: all that does not depend on the image is computed once, here.

Weight normalization and magnitudes become plain kernels. Each batch norm becomes a scale and a shift,
folded into the convolution before it where there is one; the pixel mask, a constant input, becomes
a bias map; the biases of the blocks go where their sum is used, so that nothing adds them to the
feature maps. What is left is convolutions, additions and rectifiers, with the same result up to
rounding (1e-5 of a score; tested).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from lcma_tf.networks.inference_only import InferenceOnly
from lcma_tf.networks.normalization import EPSILON, scale_and_shift
from lcma_tf.networks.parameters import split_parameters

__all__ = ["FrozenConditioner"]


class FrozenConditioner(InferenceOnly):
    """The function of a `ResidualConditioner` in inference mode, with the weights it has now.

    Args:
        conditioner: a `ResidualConditioner`, which makes these. Read once: later changes of its weights
            do not show.
        mixed_precision: feature maps and convolutions in bfloat16.
    """

    def __init__(self, conditioner: Any, mixed_precision: bool = False):
        super().__init__(name=conditioner.name)
        get = _float64
        self._num_parameters = conditioner.num_parameters
        blocks, dtype = conditioner.num_residual_blocks, conditioner.compute_dtype

        # What the feature maps meet is of their type; the norms that no convolution takes in are not.
        inside = tf.bfloat16 if mixed_precision else tf.as_dtype(dtype)

        def constant(value: np.ndarray, dtype: str | tf.DType = dtype) -> tf.Variable:
            return tf.Variable(tf.cast(value, dtype), trainable=False)

        def weight(value: np.ndarray) -> tf.Variable:
            return constant(value, inside)

        doubled = 1.0 if conditioner.pixel_mask is None else 2.0
        mean, variance = map(get, conditioner.input_moments)
        scale, shift = _affine(mean, variance, get(conditioner.input_beta))
        self._input_scale = constant(doubled * scale)
        self._input_shift = constant(doubled * shift)
        input_kernel = _unit(get(conditioner.input_kernel))
        bias = get(conditioner.input_bias)
        if conditioner.pixel_mask is not None:
            split = 2 * conditioner.in_channels
            mask = conditioner.pixel_mask[None].astype(np.float64)
            bias = tf.nn.conv2d(mask, input_kernel[:, :, split:], 1, "SAME").numpy() + bias
            input_kernel = input_kernel[:, :, :split]
        self._input_kernel, self._input_bias = weight(input_kernel), weight(bias)

        mean, variance = map(get, conditioner.moments)
        scales, shifts = _affine(mean, variance, get(conditioner.beta))
        kernels = _unit(get(conditioner.block_kernels))
        magnitude, width = get(conditioner.block_magnitude), scales.shape[-1]
        # What the biases of the blocks before have added to the feature maps, block by block; the maps
        # here go without. A convolution, its bias and a sum that are next to each other would become
        # one operation of oneDNN's, which TensorFlow (2.21) cannot run twice at a time: it keeps the
        # summand where the other run finds it (docs/faults.md).
        biases = np.cumsum([np.zeros(width), *get(conditioner.block_bias)], axis=0)
        # Of each block: the norm before it, the first conv with the norm after it, the second conv.
        self._blocks = [
            {
                "scale": constant(scales[2 * b]),
                "shift": constant(scales[2 * b] * biases[b] + shifts[2 * b]),
                "first": weight(kernels[2 * b] * scales[2 * b + 1]),
                "bias": weight(shifts[2 * b + 1]),
                "second": weight(kernels[2 * b + 1] * magnitude[b]),
            }
            for b in range(blocks)
        ]
        # The last norm, over the sum of the skips, is folded into each of them.
        skips = _unit(get(conditioner.skip_kernels))
        skips = skips * get(conditioner.skip_magnitude)[:, None, None, None, :] * scales[-1]
        self._skips = [weight(kernel) for kernel in skips]
        of_blocks = np.einsum("nhwio,ni->o", skips, biases)  # 1x1, so the same for every pixel.
        skip_bias = get(conditioner.skip_bias).sum(0) * scales[-1]
        self._skip_bias = weight(skip_bias + of_blocks + shifts[-1])
        output = _unit(get(conditioner.output_kernel)) * get(conditioner.output_magnitude)
        self._output_kernel = weight(output)
        self._output_bias = constant(get(conditioner.output_bias))
        self._scale = constant(get(conditioner.scale))

    def _shift_and_log_scale(self, kept):
        x = kept * self._input_scale + self._input_shift
        x = tf.cast(tf.nn.relu(tf.concat([x, -x], -1)), self._input_kernel.dtype)
        x = _conv(x, self._input_kernel) + self._input_bias
        total = _conv(x, self._skips[0])
        for block, skip in zip(self._blocks, self._skips[1:], strict=True):
            hidden = tf.nn.relu(scale_and_shift(x, block["scale"], block["shift"]))
            hidden = tf.nn.relu(tf.nn.bias_add(_conv(hidden, block["first"]), block["bias"]))
            x = x + _conv(hidden, block["second"])
            total = total + _conv(x, skip)
        total = tf.nn.relu(tf.nn.bias_add(total, self._skip_bias))
        output = tf.cast(_conv(total, self._output_kernel), kept.dtype)
        output = tf.nn.bias_add(output, self._output_bias)
        shift, raw, *curve = split_parameters(output, self._num_parameters)
        return shift, self._scale * tf.tanh(raw), *curve


def _float64(weight):
    """A Keras variable's value: what is folded is rounded once, at the end."""
    return np.asarray(weight.value.numpy(), np.float64)


def _affine(mean, variance, beta):
    scale = 1.0 / np.sqrt(variance + EPSILON)
    return scale, beta - mean * scale


def _unit(kernel):
    return kernel / np.sqrt(np.sum(np.square(kernel), axis=(-4, -3, -2), keepdims=True))


def _conv(x, kernel):
    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME")
