"""One pass through a residual conditioner: a function of tensors, whoever holds the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from lcma_tf.networks.norm_conv import norm_conv
from lcma_tf.networks.normalization import (
    EPSILON,
    batch_share,
    normalize_by_batch,
    scale_and_shift,
)

__all__ = ["BatchNorms", "MovingNorms", "ResidualWeights", "residual_pass"]


class ResidualWeights(NamedTuple):
    """What decides a pass, by the names and in the shapes of `ResidualConditioner`'s variables."""

    input_beta: Any
    input_kernel: Any
    input_bias: Any
    beta: Any
    block_kernels: Any
    block_magnitude: Any
    block_bias: Any
    skip_kernels: Any
    skip_magnitude: Any
    skip_bias: Any
    output_kernel: Any
    output_magnitude: Any
    output_bias: Any


class Norms(Protocol):
    """The batch norms of one pass."""

    def input(self, x: tf.Tensor) -> tf.Tensor: ...

    def hidden_conv(self, x: tf.Tensor, index: int, kernel: tf.Tensor) -> tf.Tensor: ...


def residual_pass(
    kept: tf.Tensor,
    weights: ResidualWeights,
    norms: Norms,
    pixel_mask: np.ndarray | None,
    mixed_precision: bool = False,
) -> tf.Tensor:
    """Shift, raw log-scale and what else, one after the other: `[N, h, w, parameters * channels]`.

    With `mixed_precision` the feature maps and the kernels that meet them are bfloat16; the weights,
    their normalization, moments, and what goes in and out keep their type.
    """
    x = norms.input(kept)
    if pixel_mask is not None:
        x = 2 * x
    # Cast after the first norm: it takes away the mean, which would cost bfloat16 its few digits.
    x = tf.cast(tf.nn.relu(tf.concat([x, -x], -1)), tf.bfloat16 if mixed_precision else x.dtype)
    x = _input_conv(x, _weight_norm(weights.input_kernel), weights.input_bias, pixel_mask)

    kernels, skips = tf.unstack(_block_kernels(weights)), tf.unstack(_skip_kernels(weights))
    biases = tf.unstack(tf.cast(weights.block_bias, x.dtype))
    total = _conv(x, skips[0])
    for block, bias in enumerate(biases):
        hidden = norms.hidden_conv(x, 2 * block, kernels[2 * block])
        hidden = norms.hidden_conv(hidden, 2 * block + 1, kernels[2 * block + 1])
        # In this order: a convolution, its bias and then a sum would become one operation of oneDNN's,
        # which TensorFlow (2.21) cannot run twice at a time (docs/faults.md).
        x = tf.nn.bias_add(x + hidden, bias)
        total = total + _conv(x, skips[block + 1])
    # One sum of biases instead of N + 1.
    total = tf.nn.bias_add(total, tf.cast(tf.reduce_sum(weights.skip_bias, 0), x.dtype))
    kernel = _weight_norm(weights.output_kernel, weights.output_magnitude)
    x = norms.hidden_conv(total, 2 * len(biases), kernel)
    return tf.nn.bias_add(tf.cast(x, kept.dtype), weights.output_bias)


class BatchNorms:
    """Norms by the moments of the batch, which they remember.

    Args:
        weights: of the pass.
        weight: see `normalize_by_batch`.
    """

    def __init__(self, weights: ResidualWeights, weight: tf.Tensor | None = None):
        self._weight = weight
        self._input_beta = weights.input_beta
        self._betas = tf.unstack(weights.beta)
        self._input_moments: list[tf.Tensor] = []
        self._hidden_moments: list[Sequence[tf.Tensor]] = []

    def input(self, x):
        dtype = self._input_beta.dtype
        share = batch_share(x, dtype)
        x, *self._input_moments = normalize_by_batch(x, self._input_beta, share, self._weight)
        # The same for all other norms of a pass, but for the number of channels.
        width = self._betas[0].shape[0]
        self._share = share._replace(ones=tf.ones([width], dtype))
        return x

    def hidden_conv(self, x, index, kernel):
        kernel = tf.cast(kernel, x.dtype)
        x, *moments = norm_conv(x, self._betas[index], kernel, self._share, self._weight)
        self._hidden_moments.append(moments)
        return x

    def moments(self) -> list[tf.Tensor]:
        """Mean and variance of the input, and of the hidden norms, stacked."""
        hidden = (tf.stack(moments) for moments in zip(*self._hidden_moments, strict=True))
        return [*self._input_moments, *hidden]


class MovingNorms:
    """Norms by given moments, pairs of mean and variance."""

    def __init__(self, weights: ResidualWeights, input_moments, hidden_moments):
        self._input = _affine(input_moments, weights.input_beta)
        self._hidden = [tf.unstack(part) for part in _affine(hidden_moments, weights.beta)]

    def input(self, x):
        inverse_std, offset = self._input
        return x * inverse_std + offset

    def hidden_conv(self, x, index, kernel):
        inverse_std, offset = self._hidden
        x = scale_and_shift(x, inverse_std[index], offset[index])
        return _conv(tf.nn.relu(x), kernel)


def _affine(moments, beta):
    mean, variance = moments
    inverse_std = tf.math.rsqrt(tf.convert_to_tensor(variance) + EPSILON)
    return inverse_std, beta - mean * inverse_std


def _input_conv(x, kernel, bias, pixel_mask):
    """The first convolution: of `x` and, behind it, of the mask."""
    if pixel_mask is None:
        # Not `+`, whose gradient is six ops for one.
        return tf.nn.bias_add(_conv(x, kernel), tf.cast(bias, x.dtype))
    # What comes of the mask is the same for all images: one product of matrices is all of it.
    kernel, of_mask = tf.split(kernel, [x.shape[-1], pixel_mask.shape[-1]], axis=2)
    patches = tf.constant(_patches(pixel_mask), bias.dtype)
    of_mask = tf.reshape(of_mask, [patches.shape[-1], bias.shape[0]])
    everywhere = tf.nn.bias_add(tf.matmul(patches, of_mask), bias)
    everywhere = tf.reshape(everywhere, [*pixel_mask.shape[:2], bias.shape[0]])
    return _conv(x, kernel) + tf.cast(everywhere, x.dtype)


def _patches(mask):
    """What a 3x3 convolution sees around every pixel: `[h * w, 9 * m]` of a mask `[h, w, m]`."""
    height, width, channels = mask.shape
    padded = np.pad(mask, [(1, 1), (1, 1), (0, 0)])
    around = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.stack(around, axis=2).reshape(height * width, 9 * channels)


def _block_kernels(weights):
    """`[2 * blocks, 3, 3, width, width]`: unit kernels, the second of each block scaled."""
    scaled = weights.block_magnitude
    magnitude = tf.stack([tf.ones(scaled.shape, scaled.dtype), scaled], axis=1)
    return _weight_norm(weights.block_kernels, magnitude)


def _skip_kernels(weights):
    """`[blocks + 1, 1, 1, width, width]`."""
    return _weight_norm(weights.skip_kernels, weights.skip_magnitude)


def _weight_norm(kernel, magnitude=None):
    """Kernels of norm `magnitude` over (height, width, input channels); None = 1.

    The factors meet before they meet the kernel: the backward pass then needs the kernel alone, and
    no copy of unit norm lies in memory until it comes. It is written out here, since what TensorFlow
    finds for itself is twice as many ops, and these are many of a small network's.
    """
    axes = [-4, -3, -2]

    @tf.custom_gradient
    def run(kernel, *magnitudes):
        inverse = tf.math.rsqrt(tf.reduce_sum(tf.square(kernel), axes, keepdims=True))
        factor = inverse
        for magnitude in magnitudes:
            factor *= tf.reshape(magnitude, inverse.shape)

        def backward(upstream):
            # How far the gradient points along each kernel: that part changes its norm alone.
            along = tf.reduce_sum(upstream * kernel, axes, keepdims=True) * inverse
            by_kernel = upstream * factor - kernel * (along * factor * inverse)
            return by_kernel, *(tf.reshape(along, magnitude.shape) for magnitude in magnitudes)

        return kernel * factor, backward

    return run(kernel, *([] if magnitude is None else [magnitude]))


def _conv(x, kernel):
    return tf.nn.conv2d(x, tf.cast(kernel, x.dtype), strides=1, padding="SAME")
