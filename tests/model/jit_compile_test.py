"""Compiled by XLA a training step computes the same; only its noise is another draw."""

import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from lcma_tf.model.fused_adam import FusedAdam
from testing import random_images, tiny_flow

SHAPE = (4, 4, 2)
IMAGES = random_images(8, SHAPE)


def loss_and_gradients(jit_compile, coupling):
    model = tiny_flow(coupling=coupling)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run():
        with tf.GradientTape() as tape:
            parts = model.log_prob_parts(IMAGES, 0.5, training=True)
            loss = -tf.reduce_mean(tf.reduce_sum(parts, -1))
        return loss, tape.gradient(loss, [v.value for v in model.trainable_variables])

    loss, gradients = run()
    moments = [np.array(v) for v in model.non_trainable_variables if "mean" in v.path]
    return loss.numpy(), np.concatenate([np.ravel(g) for g in gradients]), moments


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_losses_gradients_and_moments_are_those_without_xla(coupling):
    loss, gradients, moments = loss_and_gradients(jit_compile=False, coupling=coupling)
    jit_loss, jit_gradients, jit_moments = loss_and_gradients(jit_compile=True, coupling=coupling)
    np.testing.assert_allclose(jit_loss, loss, rtol=1e-5)
    distance = np.linalg.norm(jit_gradients - gradients) / np.linalg.norm(gradients)
    assert distance < 1e-4
    for found, expected in zip(jit_moments, moments, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mixed_precision", [False, True], ids=["float32", "bfloat16"])
def test_fit_learns(mixed_precision):
    model = tiny_flow(random_weights=None, num_scales=1, mixed_precision=mixed_precision)
    model.compile(
        FusedAdam(1e-2, global_clipnorm=100.0),  # Of Keras' own XLA compiles forty ops a variable.
        lcma_tf.NegativeLogLikelihood(),
        jit_compile=True,
    )
    batches = tf.data.Dataset.from_tensors(IMAGES // 4).repeat(10)
    losses = model.fit(batches, epochs=3, verbose=0).history["loss"]
    assert np.all(np.diff(losses) < 0)
    assert np.all(np.isfinite(model.log_prob(IMAGES)))
