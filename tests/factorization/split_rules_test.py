"""A whole three-scale flow of every split rule: inverse, log-det, and what the split does."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.bijectors import ImageBijector, LikelihoodContributionSplit
from lcma_tf.factorization import SPLIT_RULES
from testing import (
    TOLERANCE,
    assert_close,
    difference_jacobian,
    jacobian,
    log_abs_det,
    random_images,
    tiny_factorization,
    tiny_flow,
)

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module", params=SPLIT_RULES)
def flow(request):
    return tiny_flow(request.param, "float64", image_shape=SHAPE, num_scales=3, num_couplings=2)


def pixels(n, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.uniform(0.5, 255.5, (n, *SHAPE)))


def test_log_det_is_that_of_the_jacobian(flow):
    bijector = flow.distribution.bijector
    (y,) = pixels(1)
    actual = bijector.inverse_log_det_jacobian(y, event_ndims=3)
    exact = log_abs_det(jacobian(bijector.inverse, y))
    assert_close(actual, exact, 1e-10)
    # By differences too: whatever automatic differentiation is told, these are of the values.
    by_differences = log_abs_det(difference_jacobian(bijector.inverse, y))
    np.testing.assert_allclose(actual, by_differences, rtol=1e-4)


def test_forward_log_det_is_that_of_the_jacobian(flow):
    bijector = flow.distribution.bijector
    x = tf.constant(np.random.default_rng(0).normal(size=SHAPE))
    exact = log_abs_det(jacobian(bijector.forward, x))
    assert_close(bijector.forward_log_det_jacobian(x, event_ndims=3), exact, 1e-10)


def test_round_trips(flow):
    whole, y = flow.distribution.bijector, pixels(3)
    assert_close(whole.forward(tf.identity(whole.inverse(y))), y, TOLERANCE["float64"])
    # Latents may be those of values far outside (0, 256), where the pixel transform keeps few
    # digits: this way round without it.
    x = tf.constant(np.random.default_rng(0).normal(size=(3, *SHAPE)))
    assert_close(flow.flow.inverse(tf.identity(flow.flow.forward(x))), x, TOLERANCE["float64"])


def test_no_term_from_the_layers_after_a_dimension_has_left(flow):
    images = random_images(2, SHAPE)
    terms = [np.abs(layer).max(axis=0) for layer in flow.layer_terms(images, 0.5)]
    assert len(terms) == 3
    exits = flow.factorization.exit_scale()
    for layer, term in enumerate(terms, start=1):
        gone = (exits < layer) & (flow.factorization.rule != "none")
        assert np.all(term[gone] == 0)
        # Each dimension is changed by some coupling of every layer that it is in.
        assert np.all(term[~gone] > 0)


def test_the_layers_terms_sum_to_the_log_det(flow):
    images = random_images(2, SHAPE)
    total = sum(np.sum(layer, axis=(1, 2, 3)) for layer in flow.layer_terms(images, 0.5))
    parts = flow.log_prob_parts(images, 0.5).numpy()
    assert parts.shape == (2, 5)
    assert_close(parts[:, 1:-1].sum(axis=1), total, 1e-10)
    y = tf.constant(images + 0.5)
    assert_close(parts.sum(axis=1), flow.distribution.log_prob(y), 1e-10)


def test_what_exits_after_the_first_layer_depends_on_that_layer_alone(flow):
    layer, rest = flow.flow._layer, flow.flow._rest
    splits = flow.factorization.rule != "none"
    assert isinstance(rest, LikelihoodContributionSplit) == splits
    if not splits:
        return
    y = tf.constant(np.random.default_rng(0).normal(size=(2, *SHAPE)))
    exited = ~flow.factorization.masks[0]
    after_first_layer = layer.inverse(y).numpy()
    latents = flow.flow.inverse(tf.identity(y)).numpy()
    np.testing.assert_array_equal(latents[:, exited], after_first_layer[:, exited])
    assert np.all(latents[:, ~exited] != after_first_layer[:, ~exited])


class Recorder(ImageBijector):
    """The identity, which keeps what it was given."""

    def _inverse_and_terms(self, y, **kwargs):
        self.seen = y.numpy()
        return y, tf.zeros_like(y)


@pytest.mark.parametrize("rule", [rule for rule in SPLIT_RULES if rule != "none"])
def test_the_inner_flow_sees_blocks_in_raster_order_then_channels(rule):
    (mask,) = tiny_factorization(rule, (4, 4, 2), num_scales=2).masks
    inner = Recorder((2, 2, 4))
    y = np.arange(32.0).reshape(1, 4, 4, 2)  # Every dimension has a value of its own.
    x = LikelihoodContributionSplit(mask, inner).inverse(tf.constant(y))
    np.testing.assert_array_equal(x, y)
    kept = [
        y[0, 2 * i + a, 2 * j + b, c]
        for i, j, c, a, b in np.ndindex(2, 2, 2, 2, 2)
        if mask[2 * i + a, 2 * j + b, c]
    ]
    np.testing.assert_array_equal(inner.seen.ravel(), kept)
