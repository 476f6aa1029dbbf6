"""Scores: a function of image, seed and current weights alone, whatever else is in the process."""

import math

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.bijectors import dequantize
from testing import assert_same_in_any_batch, random_images, tiny_flow

SHAPE = (4, 4, 2)
SAME = 1e-5  # How far scores of one image in two ways of computing them may be apart, relative.


@pytest.fixture(scope="module")
def scores(model, images):
    return model.log_prob(images).numpy()


def test_scores_have_the_pinned_form(scores):
    assert scores.shape == (64,) and scores.dtype == np.float32
    assert np.isfinite(scores).all() and np.std(scores) > 1


@pytest.mark.parametrize("position", [0, 31, 63])
def test_an_image_scores_alone_as_in_a_batch(model, images, scores, position):
    alone = model.log_prob(images[position : position + 1])
    assert_same_in_any_batch(alone, scores[position : position + 1])


def test_the_order_of_a_batch_does_not_matter(model, images, scores):
    order = np.random.default_rng(0).permutation(64)
    assert_same_in_any_batch(model.log_prob(images[order]), scores[order])


def test_every_row_of_equal_images_scores_the_same(model, images):
    equal = model.log_prob(np.repeat(images[:1], 9, axis=0)).numpy()
    assert_same_in_any_batch(equal, np.repeat(equal[:1], 9))


def test_nothing_in_nothing_out(model, images):
    assert model.log_prob(images[:0]).shape == (0,)
    assert model.bits_per_dim(images[:0], num_importance_samples=2).shape == (0,)
    assert model.encode(images[:0]).shape == model.sample(0).shape == (0, *SHAPE)
    assert model.decode(model.encode(images[:0])).dtype == tf.uint8


def test_the_seed_is_that_of_the_noise(model, images, scores):
    np.testing.assert_array_equal(model.log_prob(images, seed=0), scores)
    other = model.log_prob(images, seed=1).numpy()
    np.testing.assert_array_equal(model.log_prob(images, seed=1), other)
    assert np.all(other != scores)


def test_bits_per_dim_by_hand(model, images, scores):
    expected = -scores / (4 * 4 * 2 * math.log(2))
    np.testing.assert_allclose(model.bits_per_dim(images), expected, rtol=1e-6)


def single_draws(model, images, seed, num_draws):
    """`log p(x + u_k)` put together from noise, dequantization and the distribution."""
    draws = []
    for draw in range(num_draws):
        stream = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0]), draw, "philox")
        noise = tf.random.stateless_uniform(SHAPE, stream, alg="philox")
        draws.append(model.distribution.log_prob(dequantize(images, noise, tf.float32)))
    return np.array(draws, np.float64)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_importance_weighted_bound(model, images, seed):
    draws = single_draws(model, images, seed, 5)
    np.testing.assert_allclose(model.log_prob(images, seed), draws[0], rtol=SAME)
    expected = np.log(np.mean(np.exp(draws - draws.max(axis=0)), axis=0)) + draws.max(axis=0)
    bound = model.log_prob(images, seed, num_importance_samples=5).numpy()
    np.testing.assert_allclose(bound, expected, rtol=SAME)
    assert np.all(bound >= draws.mean(axis=0))
    bits = model.bits_per_dim(images, seed, num_importance_samples=5)
    np.testing.assert_allclose(bits, -bound / (32 * math.log(2)), rtol=1e-6)


def test_two_models_of_one_config_score_as_they_do_alone(model, images, scores):
    y = tf.constant(images + np.float32(0.5))
    alone = model.distribution.log_prob(y).numpy()
    other = tiny_flow(random_weights=2)
    others_alone = other.distribution.log_prob(tf.identity(y)).numpy()
    assert np.all(np.abs(others_alone - alone) > 1e-2)

    @tf.function(autograph=False)
    def both(y):
        return model.distribution.log_prob(y), other.distribution.log_prob(y)

    for actual, expected in zip(both(y), (alone, others_alone), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=SAME)
    eager = [owner.distribution.log_prob(y) for owner in (model, other)]  # One tensor, in turn.
    for actual, expected in zip(eager, (alone, others_alone), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=SAME)
    np.testing.assert_array_equal(model.log_prob(images), scores)
    np.testing.assert_allclose(other.distribution.log_prob(y), others_alone, rtol=SAME)


def public_results(model, images, latents):
    return {
        "log_prob": model.log_prob(images),
        "bound": model.log_prob(images, num_importance_samples=2),
        "bits_per_dim": model.bits_per_dim(images),
        "encode": model.encode(images),
        "decode": model.decode(latents),
        "sample": model.sample(8, temperature=2.0),
        "interpolate": model.interpolate(images, images[::-1], 3)[:, 1],
    }


def test_new_weights_give_new_results_while_old_ones_are_alive(model, images):
    twin = tiny_flow(random_weights=2)
    images, latents = images[:8], tf.random.stateless_normal([8, *SHAPE], [0, 0])
    old_weights = model.get_weights()
    old = public_results(model, images, latents)  # Alive to the end.
    model.set_weights(twin.get_weights())
    expected = public_results(twin, images, latents)
    for name, value in public_results(model, images, latents).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
        assert np.any(value != old[name]), name
    model.set_weights(old_weights)
    for name, value in public_results(model, images, latents).items():
        np.testing.assert_array_equal(value, old[name], err_msg=name)


def test_a_float64_model():
    model = tiny_flow(dtype="float64")
    images = random_images(4, SHAPE)
    assert {variable.dtype for variable in model.trainable_variables} == {"float64"}
    scores = model.log_prob(images)
    assert scores.dtype == tf.float64 and model.encode(images).dtype == tf.float64
    single = tiny_flow()
    for variable, like in zip(single.variables, model.variables, strict=True):
        variable.assign(tf.cast(like, variable.dtype))
    y = images + 0.5
    double_scores = model.distribution.log_prob(tf.constant(y, tf.float64))
    single_scores = single.distribution.log_prob(tf.constant(y, tf.float32))
    np.testing.assert_allclose(single_scores, double_scores, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 8, 1), (8, 4, 3)])
def test_rectangles(shape):
    model = tiny_flow(image_shape=shape)
    images = random_images(3, shape)
    assert np.isfinite(model.log_prob(images)).all()
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)


def test_one_scale():
    model = tiny_flow(image_shape=(3, 5, 1), num_scales=1)
    images = random_images(3, (3, 5, 1))
    assert model.log_prob(images).shape == (3,)
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)
    assert model.part_names == ("latent", "layer_1", "pixel")


def test_a_misspelt_option_of_a_pass_is_refused(model, images):
    for owner in (model, model.frozen()):
        with pytest.raises(TypeError, match="of training, momentum, weight; got momentun"):
            owner.log_prob_parts(images, 0.5, momentun=0.5)
