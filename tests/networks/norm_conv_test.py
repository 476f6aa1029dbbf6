"""Batch norm, relu and convolution as one step: the values and gradients of the three apart."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.networks.norm_conv import norm_conv
from lcma_tf.networks.normalization import EPSILON, batch_share

RNG = np.random.default_rng(0)
X = RNG.normal(1.0, 2.0, (5, 6, 4, 3)).astype(np.float32)
BETA = RNG.normal(size=3).astype(np.float32)
KERNEL = RNG.normal(size=(3, 3, 3, 2)).astype(np.float32)
WEIGHTS = RNG.normal(size=(5, 6, 4, 2))


def reference(x, beta, kernel):
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    normalized = (x - mean) / tf.sqrt(variance + EPSILON) + beta
    return tf.nn.conv2d(tf.nn.relu(normalized), kernel, 1, "SAME"), mean, variance


def ours(x, beta, kernel):
    return norm_conv(x, beta, kernel, batch_share(x, beta.dtype))


def outputs_and_gradients(function, dtype, compiled):
    inputs = [tf.constant(value, dtype) for value in (X, BETA, KERNEL)]

    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs)
            loss = tf.reduce_sum(outputs[0] * tf.cast(WEIGHTS, dtype))
        return *outputs, *tape.gradient(loss, inputs)

    return (tf.function(run, autograph=False) if compiled else run)(*inputs)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-12)])
def test_values_moments_and_gradients(dtype, tolerance, compiled):
    expected = outputs_and_gradients(reference, "float64", compiled=False)
    found = outputs_and_gradients(ours, dtype, compiled)
    for theirs, our in zip(expected, found, strict=True):
        size = np.abs(theirs).max()
        np.testing.assert_allclose(our, theirs, rtol=tolerance, atol=tolerance * size)


def test_the_rectified_map_is_made_twice_in_float32_and_once_in_bfloat16():
    """Half the memory where it costs least; a bfloat16 map has half already."""
    for dtype, expected in ((tf.float32, 2), (tf.bfloat16, 1)):

        @tf.function(autograph=False)
        def run(x, kernel):
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                result = ours(x, tf.constant(BETA), kernel)[0]
            return tape.gradient(result, [x, kernel])

        graph = run.get_concrete_function(tf.constant(X, dtype), tf.constant(KERNEL, dtype)).graph
        assert sum(op.type == "Relu" for op in graph.get_operations()) == expected
