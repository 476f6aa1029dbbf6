"""The matrix by its LU decomposition: what it begins as, and that inverse and determinant fit it."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.networks import LUMatrix
from testing import TOLERANCE, assert_close


def moved(channels, dtype):
    """One that has left the rotation where it began."""
    weights = LUMatrix(channels, seed=2, dtype=dtype)
    change = np.random.default_rng(4).normal(scale=0.2, size=(channels, channels))
    weights.factors.assign_add(change)
    return weights


@pytest.mark.parametrize("channels", [1, 2, 12, 48])
def test_it_begins_as_a_random_rotation(channels):
    weights = LUMatrix(channels, seed=[3, channels], dtype="float64")
    matrix = weights.matrix().numpy()
    assert_close(matrix @ matrix.T, np.eye(channels), 1e-12)
    assert_close(weights.log_abs_det(), 0, 1e-12)
    assert_close(weights.inverse(), matrix.T, 1e-12)
    np.testing.assert_array_equal(
        matrix, LUMatrix(channels, seed=[3, channels], dtype="float64").matrix()
    )
    if channels > 1:
        assert np.abs(matrix - LUMatrix(channels, seed=[4, channels]).matrix()).max() > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inverse_and_determinant_are_those_of_the_matrix(dtype):
    weights = moved(12, dtype)
    matrix = weights.matrix()
    assert matrix.dtype == weights.inverse().dtype == weights.log_abs_det().dtype == dtype
    assert_close(tf.matmul(weights.inverse(), matrix), np.eye(12), TOLERANCE[dtype] / 10)
    _, log_det = np.linalg.slogdet(np.asarray(matrix, np.float64))
    assert_close(weights.log_abs_det(), log_det, TOLERANCE[dtype] / 10)


def test_every_number_is_trained_and_the_rest_is_not():
    weights = moved(6, "float64")
    assert [v.name for v in weights.trainable_variables] == ["factors"]
    assert weights.factors.shape == (6, 6)
    factors = weights.factors.value
    for function in (weights.matrix, weights.inverse):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(tf.sin(function()))
        assert np.all(tape.gradient(value, factors) != 0)
    with tf.GradientTape() as tape:
        value = weights.log_abs_det()
    np.testing.assert_array_equal(tape.gradient(value, factors), np.eye(6))


def test_what_is_fixed_is_saved_and_wins_over_the_seed():
    ours, theirs = moved(5, "float32"), LUMatrix(5, seed=9)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(theirs.matrix(), ours.matrix())
    again = LUMatrix.from_config(ours.get_config())
    again.factors.assign(ours.factors)
    np.testing.assert_array_equal(again.matrix(), ours.matrix())


def test_frozen_it_is_a_snapshot():
    weights = moved(5, "float32")
    frozen = weights.frozen()
    asked = ("matrix", "inverse", "log_abs_det")
    before = [getattr(weights, name)().numpy() for name in asked]
    weights.factors.assign_add(tf.ones([5, 5]))
    for name, value in zip(asked, before, strict=True):
        np.testing.assert_array_equal(getattr(frozen, name)(), value)
