"""The RealNVP's convolutions alone, in TensorFlow: a bound on whatever runs these convolutions.

Forward, each conditioner is the chain of its convolutions. A training step adds for every convolution
the two of its gradients: three times the FLOPs, nothing else. `log_prob` and `training_step` return
numbers without a meaning. Variants: "" float32, "bfloat16".
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.architecture import (
    BenchmarkConfig,
    ConditionerConvolutions,
    Convolution,
    conditioners,
)
from benchmarks.contenders.tensorflow_graph import count_conv_flops, count_ops, prepare

__all__ = ["build"]


def build(config: BenchmarkConfig, variant: str = "") -> BareConvolutions:
    prepare(config)
    return BareConvolutions(config, tf.bfloat16 if variant == "bfloat16" else tf.float32)


class BareConvolutions:
    """See `benchmarks.contenders.Contender`; there is nothing to sample."""

    def __init__(self, config: BenchmarkConfig, dtype: tf.DType):
        self._chains = [_Chain(conditioner, dtype) for conditioner in conditioners(config)]
        self.num_parameters = sum(chain.num_parameters for chain in self._chains)
        self._forward = tf.function(self._run_forward, reduce_retracing=False, autograph=False)
        self._step = tf.function(self._run_both, reduce_retracing=False, autograph=False)
        self._batch_size = 1

    def training_step(self, images: np.ndarray):
        self._batch_size = len(images)
        inputs = self._inputs(len(images))
        return lambda: float(self._step(inputs))

    def log_prob(self, images: np.ndarray) -> np.ndarray:
        if getattr(self, "_ready", None) is None or len(images) != self._batch_size:
            self._batch_size = len(images)
            self._ready = self._inputs(len(images))
        return self._forward(self._ready).numpy()

    def sample(self, n: int) -> np.ndarray:
        raise NotImplementedError("Convolutions alone have no samples.")

    def conv_flops(self) -> int:
        return count_conv_flops(self._run_forward, self._inputs(1))

    def num_training_ops(self) -> int | None:
        return count_ops(self._step.get_concrete_function(self._inputs(self._batch_size)).graph)

    def _inputs(self, batch_size):
        return [chain.inputs(batch_size) for chain in self._chains]

    def _run_forward(self, inputs):
        # One conditioner after the other, as in a flow.
        done = []
        for chain, x in zip(self._chains, inputs, strict=True):
            with tf.control_dependencies(done[-1:]):
                done += chain.forward(tf.identity(x))[0]
        return tf.add_n(done)

    def _run_both(self, inputs):
        done, kept = [], []
        for chain, x in zip(self._chains, inputs, strict=True):
            with tf.control_dependencies(done[-1:]):
                results, activations = chain.forward(tf.identity(x))
            done += results
            kept.append(activations)
        for chain, activations in zip(reversed(self._chains), reversed(kept), strict=True):
            with tf.control_dependencies(done[-1:]):
                done += chain.backward(activations)
        return tf.add_n(done)


class _Chain:
    """The convolutions of one conditioner, each fed with the output of the one before."""

    def __init__(self, convolutions: ConditionerConvolutions, dtype: tf.DType):
        c = convolutions
        self._first_convolution, self._dtype = c.first, dtype
        self._first = _kernel(c.first, dtype)
        self._blocks = [_kernel(c.block, dtype) for _ in range(2 * c.num_blocks)]
        self._skips = [_kernel(c.skip, dtype) for _ in range(c.num_blocks + 1)]
        self._last = _kernel(c.last, dtype)
        kernels = [self._first, *self._blocks, *self._skips, self._last]
        self.num_parameters = sum(int(np.prod(kernel.shape)) for kernel in kernels)

    def inputs(self, batch_size: int) -> tf.Tensor:
        size, channels = self._first_convolution.size, self._first_convolution.inputs
        shape = [batch_size, size, size, channels]
        return tf.cast(tf.random.stateless_normal(shape, [0, 0]), self._dtype)

    def forward(self, x: tf.Tensor):
        """Returns a number from each loose end, and what `backward` needs."""
        entered = x
        hidden = [_conv(x, self._first)]
        for kernel in self._blocks:
            hidden.append(_conv(hidden[-1], kernel))
        skips = [_conv(h, k) for h, k in zip(hidden[::2], self._skips, strict=True)]
        output = _conv(skips[-1], self._last)
        results = [_one_number(end) for end in (*skips, output)]
        return results, (entered, hidden, skips[-1], output)

    def backward(self, activations) -> list[tf.Tensor]:
        """The gradients of all convolutions; the activations stand in for what would flow back."""
        entered, hidden, total, output = activations
        total_gradient, done = _gradients(total, self._last, output)
        gradient = hidden[-1]
        for index in reversed(range(len(self._blocks))):
            if index % 2:  # The output of a block, where a skip leaves.
                done += _gradients(
                    hidden[index + 1], self._skips[(index + 1) // 2], total_gradient
                )[1]
            gradient, more = _gradients(hidden[index], self._blocks[index], gradient)
            done += more
        done += _gradients(hidden[0], self._skips[0], total_gradient)[1]
        return done + _gradients(entered, self._first, gradient)[1]


def _kernel(convolution: Convolution, dtype: tf.DType) -> tf.Variable:
    c = convolution
    shape = [c.kernel, c.kernel, c.inputs, c.outputs]
    # Of a scale that keeps the variance along the chain.
    limit = np.sqrt(1.0 / (c.kernel**2 * c.inputs))
    return tf.Variable(tf.cast(limit * tf.random.stateless_normal(shape, [0, 1]), dtype))


def _conv(x, kernel):
    return tf.nn.conv2d(x, kernel, strides=1, padding="SAME")


def _gradients(x, kernel, gradient):
    """That of the input, and a number from each of the two gradients."""
    of_input = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(x),
        filter=kernel,
        out_backprop=gradient,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )
    of_kernel = tf.raw_ops.Conv2DBackpropFilter(
        input=x,
        filter_sizes=tf.shape(kernel),
        out_backprop=gradient,
        strides=[1, 1, 1, 1],
        padding="SAME",
    )
    return of_input, [_one_number(of_input), _one_number(of_kernel)]


def _one_number(tensor):
    """Something to return: TensorFlow drops what nothing depends on."""
    return tf.cast(tensor[0, 0, 0, 0], tf.float32)
