"""Glow's conditioner: the constant scale it begins with, its formula, its narrow and frozen forms."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.networks import GlowConditioner
from testing import assert_close, randomize

KEPT = np.random.default_rng(0).normal(size=(3, 4, 4, 2)).astype(np.float32)


def network(moved=True, dtype="float32", **options):
    found = GlowConditioner(2, 3, 6, seed=[1, 2], dtype=dtype, **options)
    if moved:
        randomize(found, seed=5)
    return found


def expected(found, kept):
    """The formula with NumPy's sums over shifted images, in float64."""
    get = {v.name: np.asarray(v, np.float64) for v in found.variables}

    def convolve(x, kernel, bias):
        reach = kernel.shape[0] // 2
        padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        height, width = x.shape[1:3]
        return bias + sum(
            padded[:, i : i + height, j : j + width] @ kernel[i, j]
            for i in range(kernel.shape[0])
            for j in range(kernel.shape[1])
        )

    hidden = np.maximum(convolve(kept, get["first_kernel"], get["first_bias"]), 0)
    hidden = np.maximum(convolve(hidden, get["second_kernel"], get["second_bias"]), 0)
    output = convolve(hidden, get["last_kernel"], get["last_bias"]) * np.exp(3 * get["logs"])
    return output[..., :3], np.log(0.1 + 0.9 / (1 + np.exp(-output[..., 3:] - 2)))


def test_it_begins_as_a_constant_scale():
    shift, log_scale = network(moved=False)(KEPT)
    assert not np.any(shift)
    np.testing.assert_allclose(log_scale, np.log(0.1 + 0.9 / (1 + np.exp(-2.0))), rtol=1e-6)


def test_whatever_it_is_shown_the_way_back_divides_by_a_tenth_at_most():
    found = network()
    with tf.GradientTape() as tape:
        _, log_scale = found(1e6 * KEPT)
        loss = tf.reduce_sum(log_scale)
    assert np.min(log_scale) == pytest.approx(np.log(0.1)) and np.max(log_scale) <= 1e-6
    gradients = tape.gradient(
        loss, [v.value for v in found.trainable_variables], unconnected_gradients="zero"
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-12)])
def test_it_is_its_formula_in_every_mode(dtype, tolerance):
    found = network(dtype=dtype)
    kept = KEPT.astype(dtype)
    wanted = expected(found, kept)
    for output in (found(kept), found(kept, training=True), found.frozen()(kept)):
        for actual, value in zip(output, wanted, strict=True):
            assert actual.dtype == dtype
            assert_close(actual, value, tolerance)


def gradients(found):
    with tf.GradientTape() as tape:
        shift, log_scale = found(KEPT, training=True)
        loss = tf.reduce_sum(tf.sin(shift) + tf.cos(log_scale))
    return tape.gradient(loss, [v.value for v in found.trainable_variables])


def test_rematerialized_the_gradients_are_the_same():
    plain, remade = (gradients(network(rematerialize=remake)) for remake in (False, True))
    for actual, value in zip(remade, plain, strict=True):
        assert np.any(value)
        np.testing.assert_allclose(actual, value, rtol=1e-5, atol=1e-5)


def test_narrow_inside_in_training_and_only_there():
    found, exact = network(mixed_precision=True), network()
    np.testing.assert_array_equal(found(KEPT)[1], exact(KEPT)[1])
    for output in (found(KEPT, training=True), exact.frozen(mixed_precision=True)(KEPT)):
        for actual, value in zip(output, exact(KEPT), strict=True):
            assert actual.dtype == "float32"
            error = np.abs(actual - value).max() / np.abs(value).max()
            assert 1e-5 < error < 0.03
    assert all(gradient.dtype == "float32" for gradient in gradients(found))


def test_its_config_makes_it_again():
    found = network(mixed_precision=True, name="coupling")
    again = GlowConditioner.from_config(found.get_config())
    assert again.get_config() == found.get_config()
    for ours, theirs in zip(network(moved=False).variables, again.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)  # The seed's.


def test_frozen_it_has_no_training_mode():
    with pytest.raises(ValueError, match="no training mode"):
        network().frozen()(KEPT, training=True)
