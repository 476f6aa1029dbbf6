"""Rematerialized training is the same training in less memory, at the price of one more forward pass."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import NegativeLogLikelihood
from lcma_tf.networks.rematerialization import rematerialized
from testing import count_ops, num_convolutions, random_images, tiny_flow

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = (4, 4, 2)
IMAGES = random_images(8, SHAPE)
# The same ops run twice; Grappler may fuse them in other ways, and sums round.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def loss_gradients_moments(dtype, rematerialize):
    """Of one training pass, by name."""
    model = tiny_flow(dtype=dtype, rematerialize=rematerialize, base_dim=4)
    noise = np.random.default_rng(0).uniform(size=IMAGES.shape)

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            parts = model.log_prob_parts(IMAGES, noise, training=True)
            loss = -tf.reduce_mean(tf.reduce_sum(parts, -1))
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    loss, gradients = run()
    gradients = [None if g is None else np.asarray(g) for g in gradients]
    return (
        float(loss),
        dict(zip((v.path for v in model.trainable_variables), gradients, strict=True)),
        {v.path: v.numpy() for network in model.networks for v in network.non_trainable_variables},
    )


@each_dtype
def test_loss_gradients_and_moments_are_the_same(dtype):
    plain, remade = (loss_gradients_moments(dtype, remake) for remake in (False, True))
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(remade[0], plain[0], rtol=tolerance)
    assert not [name for name, gradient in remade[1].items() if gradient is None]
    # In training some biases have a gradient of pure rounding: relative to the largest, then.
    size = max(np.abs(gradient).max() for gradient in plain[1].values())
    for kind, atol in ((1, tolerance * size), (2, tolerance)):
        assert remade[kind].keys() == plain[kind].keys() and plain[kind]
        for name, value in plain[kind].items():
            np.testing.assert_allclose(
                remade[kind][name], value, rtol=tolerance, atol=atol, err_msg=name
            )


def test_fitting_comes_to_the_same():
    def fit(rematerialize):
        model = tiny_flow(rematerialize=rematerialize)
        model.compile(keras.optimizers.SGD(1e-4), NegativeLogLikelihood(), jit_compile=False)
        batches = tf.data.Dataset.from_tensors(IMAGES).repeat(2)
        # Only what is trained is compared.
        history = model.fit(batches, epochs=2, verbose=0, recalibrate=False).history
        return history["loss"], {v.path: v.numpy() for v in model.variables if v.trainable}

    (plain_loss, plain), (loss, remade) = fit(False), fit(True)
    np.testing.assert_allclose(loss, plain_loss, rtol=1e-4)
    for name, value in plain.items():
        np.testing.assert_allclose(remade[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_step_has_one_forward_pass_more_and_no_more_backward_ones():
    model = tiny_flow(rematerialize=True)
    model.compile(keras.optimizers.SGD(), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    train_step = tf.function(model.train_step, autograph=False)
    step = train_step.get_concrete_function((tf.convert_to_tensor(IMAGES),))
    one_pass = num_convolutions(model.config)
    assert count_ops(step) == 2 * one_pass
    assert count_ops(step, "Conv2DBackpropFilter") == one_pass


def test_inference_has_one_pass():
    model = tiny_flow(rematerialize=True)
    graph = model.passes.log_prob.get_concrete_function()
    assert count_ops(graph) == num_convolutions(model.config)


def test_it_is_not_saved(tmp_path):
    model = tiny_flow(rematerialize=True)
    assert model.get_config() == tiny_flow().get_config()
    assert model.networks[0].get_config() == tiny_flow().networks[0].get_config()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_second_run_is_not_merged_with_the_first(jit_compile):
    """After all optimizations `tanh` is computed again, and a gradient that is not finite shows."""

    def function(x, weight):
        return tf.tanh(x * weight), [tf.reduce_mean(x)]

    @tf.function(jit_compile=jit_compile, autograph=False)
    def gradients(x, weight, factor):
        with tf.GradientTape() as tape:
            tape.watch([x, weight])
            output, (mean,) = rematerialized(function, [x, weight])
            loss = factor * tf.reduce_sum(output) + mean  # `mean` has no gradient.
        return loss, *tape.gradient(loss, [x, weight])

    x, weight = tf.random.stateless_normal([2, 3, 3, 1], [0, 0]), tf.constant(0.7)
    slope = 1 - np.tanh(0.7 * x) ** 2
    _, by_x, by_weight = gradients(x, weight, tf.constant(2.0))
    np.testing.assert_allclose(by_x, 2 * 0.7 * slope, rtol=1e-5)
    np.testing.assert_allclose(by_weight, np.sum(2 * x * slope), rtol=1e-5)
    assert np.isnan(gradients(x, weight, tf.constant(np.inf))[2])
    if jit_compile:
        code = gradients.experimental_get_compiler_ir(x, weight, tf.constant(2.0))
        assert code(stage="optimized_hlo").count(" tanh(") == 2


MEMORY = """
import json, sys
import keras
import numpy as np
import tensorflow as tf
import lcma_tf

config = lcma_tf.FlowConfig(num_scales=1, base_dim=32, num_residual_blocks=4)
model = lcma_tf.FlowModel(config, rematerialize=json.loads(sys.argv[1]))
model.compile(keras.optimizers.Adam(), loss=lcma_tf.NegativeLogLikelihood(), jit_compile=False)
images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)

def peak():
    # Not getrusage: its peak is inherited from the process that started this one, however large.
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

before = peak()
# Without the pass over 100 batches at the end, which needs less than a step and takes far longer.
model.fit(tf.data.Dataset.from_tensors(images), verbose=0, recalibrate=False)
print((peak() - before) / 1024)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak is read from /proc")
def test_training_needs_less_memory():
    """At most 0.8 of what training adds to a fresh process; a good 200 MiB of it is TensorFlow's.

    Measured 0.5 to 0.61, by the processor: its convolutions decide how much they need beside. How
    much is saved is for `benchmarks` to say (suite `memory`); here, that something is.
    """

    def mebibytes(rematerialize):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, json.dumps(rematerialize)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return float(done.stdout.split()[-1])

    plain, remade = mebibytes(False), mebibytes(True)
    assert remade < 0.8 * plain, (remade, plain)
