"""Where an act norm begins: at the moments of its first batch of training, once, and saved as it is."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.bijectors import ActNorm
from lcma_tf.networks import ActNormWeights
from testing import assert_close

SHAPE = (4, 6, 2)


def batch(n=5, seed=0):
    return np.random.default_rng(seed).normal([1.0, -3.0], [2.0, 0.5], size=(n, *SHAPE))


@pytest.mark.parametrize("in_graph", [False, True])
def test_the_first_batch_of_training_sets_it_and_no_other(in_graph):
    norm = ActNorm(SHAPE, dtype=tf.float64)
    first, second = batch(seed=0), 3 + 2 * batch(seed=1)

    def run(y):
        return norm.inverse_and_terms(y, training=True)

    run = tf.function(run, autograph=False) if in_graph else run
    x, terms = run(tf.constant(first))
    assert norm.initialized
    assert_close(np.mean(x, (0, 1, 2)), 0, 1e-12)
    assert_close(np.std(x, (0, 1, 2)), 1, 1e-5)
    assert_close(norm.shift, -first.mean((0, 1, 2)), 1e-12)
    log_scale = -0.5 * np.log(first.var((0, 1, 2)) + 1e-6)
    assert_close(terms, np.broadcast_to(log_scale, first.shape), 1e-12)
    x, terms = run(tf.constant(second))
    assert_close(x, (second - first.mean((0, 1, 2))) * np.exp(log_scale), 1e-12)
    assert_close(terms, np.broadcast_to(log_scale, first.shape), 1e-12)
    for untrained in norm.inverse(tf.constant(second)), run(tf.constant(second))[0]:
        np.testing.assert_array_equal(untrained, x)  # In any mode it is the same function now.


def test_before_training_it_is_the_identity_and_stays_so():
    norm, y = ActNorm(SHAPE, dtype=tf.float64), batch()
    for value, terms in (norm.inverse_and_terms(y), norm.forward_and_terms(y, training=True)):
        np.testing.assert_array_equal(value, y)
        assert not np.any(terms)
    assert not norm.initialized


def test_no_gradient_passes_through_the_moments():
    norm, y = ActNorm(SHAPE, dtype=tf.float64), tf.constant(batch())
    with tf.GradientTape() as tape:
        tape.watch(y)
        x, terms = norm.inverse_and_terms(y, training=True)
        loss = tf.reduce_sum(x**3) + tf.reduce_sum(terms)
    scale = np.exp(norm.log_scale)
    by_y, by_shift, by_log_scale = tape.gradient(loss, [y, norm.shift, norm.log_scale])
    assert_close(by_y, 3 * np.asarray(x) ** 2 * scale, 1e-9)
    assert_close(by_shift, np.sum(3 * np.asarray(x) ** 2 * scale, (0, 1, 2)), 1e-9)
    assert_close(by_log_scale, np.sum(3 * np.asarray(x) ** 3 + 1, (0, 1, 2)), 1e-9)


def test_a_channel_that_does_not_vary_is_not_scaled_without_bound():
    norm = ActNorm(SHAPE)
    x = norm.inverse(tf.fill([3, *SHAPE], 7.0), training=True)
    assert np.all(np.abs(x) < 1e-2) and np.max(norm.log_scale) < 7


@pytest.mark.parametrize("given", [1, 2])
def test_all_variables_or_none(given):
    variables = ActNormWeights(2).tf_variables
    with pytest.raises(ValueError, match=f"given together or not at all; got {given} of them"):
        ActNorm(SHAPE, *variables[:given])
