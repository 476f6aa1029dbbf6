"""The in-flow batch norm in training: whose moments, where they move to, what passes through them."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.bijectors import InFlowBatchNorm
from lcma_tf.factorization import masks
from testing import assert_close

SHAPE = (4, 6, 2)
EPSILON = 1e-4
MASKS = {"checkerboard": masks.checkerboard(SHAPE), "channel": masks.channel_half(SHAPE)}
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
every_kind = pytest.mark.parametrize("kind", ["changed", "all"])


def batch(n=5, seed=0):
    return np.random.default_rng(seed).normal(1.0, 2.0, size=(n, *SHAPE))


def expected_moments(y, mask, kind):
    """Channel by channel, with loops: of the changed positions, or of all with zeros at the others."""
    mean, variance = np.zeros(SHAPE[-1]), np.zeros(SHAPE[-1])
    for channel in range(SHAPE[-1]):
        if kind == "changed":
            values = y[:, ~mask[..., channel], channel]
        else:
            values = np.where(mask[..., channel], 0.0, y[..., channel])
        if values.size:  # A channel that is kept has no changed positions.
            mean[channel], variance[channel] = values.mean(), values.var()
    return mean, variance


@every_mask
@every_kind
def test_training_normalizes_by_the_moments_of_the_batch(mask, kind):
    norm = InFlowBatchNorm(mask, kind, dtype=tf.float64)
    y = batch()
    x, terms = norm.inverse_and_terms(y, training=True)
    mean, variance = expected_moments(y, mask, kind)
    normalized = (y - mean) / np.sqrt(variance + EPSILON)
    assert_close(x, np.where(mask, y, normalized), 1e-12)
    log_det = np.where(mask, 0.0, -0.5 * np.log(variance + EPSILON))
    assert_close(terms, np.broadcast_to(log_det, y.shape), 1e-12)


@every_mask
@every_kind
def test_moving_moments_move_towards_those_of_the_batch(mask, kind):
    norm = InFlowBatchNorm(mask, kind, dtype=tf.float64)
    y = batch()
    mean, variance = expected_moments(y, mask, kind)
    norm.inverse_and_terms(y, training=True)  # From 0 and 1, with momentum 0.9.
    assert_close(norm.moving_mean, 0.1 * mean, 1e-12)
    assert_close(norm.moving_variance, 0.9 + 0.1 * variance, 1e-12)
    norm.inverse_and_terms(y, training=True, momentum=0.0)
    assert_close(norm.moving_mean, mean, 1e-12)
    assert_close(norm.moving_variance, variance, 1e-12)


@every_mask
def test_inference_is_a_function_of_the_image_alone_and_moves_nothing(mask):
    norm = InFlowBatchNorm(mask, dtype=tf.float64)
    norm.moving_mean.assign([0.3, -0.2])
    norm.moving_variance.assign([0.5, 2.0])
    y = batch()
    alone = norm.inverse_and_terms(y[:1])
    for one, of_all in zip(alone, norm.inverse_and_terms(y), strict=True):
        np.testing.assert_array_equal(one[0], of_all[0])
    np.testing.assert_array_equal(norm.moving_mean, [0.3, -0.2])
    np.testing.assert_array_equal(norm.moving_variance, [0.5, 2.0])


def test_under_a_checkerboard_all_leaves_a_variance_of_about_two():
    mask = MASKS["checkerboard"]
    y = np.random.default_rng(0).normal(size=(500, *SHAPE))
    for kind, variance in (("changed", 1.0), ("all", 2.0)):
        x = InFlowBatchNorm(mask, kind, dtype=tf.float64).inverse(y, training=True).numpy()
        assert abs(x[:, ~mask].var() - variance) < 0.05


@every_kind
def test_gradients_pass_through_the_moments(kind):
    # A shift or a scale of the whole batch is undone by its own moments: no gradient along either.
    mask = MASKS["channel"]
    norm = InFlowBatchNorm(mask, kind, epsilon=1e-12, dtype=tf.float64)
    y, weights = batch(), np.random.default_rng(1).normal(size=(5, *SHAPE))
    shift, scale = tf.constant(0.7, tf.float64), tf.constant(1.3, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([shift, scale])
        changed = tf.constant(~mask, tf.float64)
        x = norm.inverse_and_terms(scale * y + shift, training=True)[0]
        loss = tf.reduce_sum(weights * changed * x)
    assert_close(tape.gradient(loss, [shift, scale]), [0.0, 0.0], 1e-10)


def test_forward_has_no_training_mode():
    with pytest.raises(ValueError, match="`forward` has no training mode.*got training=True"):
        InFlowBatchNorm(MASKS["channel"]).forward(tf.zeros([1, *SHAPE]), training=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": np.ones(SHAPE, bool)}, "leave some positions to normalize; got all True"),
        ({"mask": np.ones(SHAPE)}, r"bool array \[h, w, c\]; got float64"),
        ({"moments": "half"}, "must be 'changed' or 'all'; got 'half'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        InFlowBatchNorm(**{"mask": MASKS["channel"], **arguments})
