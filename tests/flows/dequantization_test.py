"""Noise that a network draws: the same probability of an image, whatever the network says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from testing import assert_close, random_images, tiny_flow

SHAPE = (4, 4, 2)
IMAGES = random_images(5, SHAPE)


def variational(dtype="float64", **changes):
    return tiny_flow("random", dtype, dequantization="variational", **changes)


def test_a_new_flow_draws_uniform_noise():
    plain = tiny_flow("random", "float64", random_weights=None)
    ours = variational(random_weights=None)
    names = [net.name for net in ours.networks]
    added = [f"dequantization_{step}" for step in range(4)]
    assert names == [*(net.name for net in plain.networks), *added]
    assert_close(ours.log_prob_parts(IMAGES, 0.3), plain.log_prob_parts(IMAGES, 0.3), 1e-9)


def test_uniform_noise_needs_no_network():
    assert tiny_flow().passes.dequantization is None


def test_a_score_is_the_density_at_the_noise_less_that_of_the_noise():
    flow = variational(spread=0.1)
    noise = flow.scoring_noise(seed=3)[0]
    bent, terms = flow.passes.dequantization.noise_and_terms(tf.cast(IMAGES, tf.float64), noise)
    assert np.all((bent.numpy() > 0) & (bent.numpy() < 1)) and np.std(bent, axis=0).min() > 0
    density = flow.distribution.log_prob(IMAGES + bent)
    assert_close(flow.log_prob(IMAGES, seed=3), density + np.sum(terms, axis=(1, 2, 3)), 1e-10)
    drawn = [flow.log_prob(IMAGES, seed=0) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)


def test_the_probability_of_an_image_does_not_depend_on_the_noise():
    """Over all u the mean of density / q(u') is the integral of the density over the bin."""
    plain = tiny_flow("none", "float64", image_shape=(1, 2, 1), num_scales=1, num_couplings=1)
    options = {"image_shape": (1, 2, 1), "num_scales": 1, "num_couplings": 1}
    ours = tiny_flow("none", "float64", dequantization="variational", **options)
    for net, old in zip(ours.networks, plain.networks, strict=False):
        net.set_weights(old.get_weights())
    middles = (np.arange(200) + 0.5) / 200
    noise = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 1, 2, 1)
    image = np.array([[[77], [130]]], np.uint8)
    images = np.broadcast_to(image, noise.shape)
    nats = [np.asarray(flow.latents_and_log_prob(images, noise)[1]) for flow in (plain, ours)]
    assert np.std(nats[1]) > 10 * np.std(nats[0])  # Random weights: noise far from the flow's own.
    probability, same = (np.mean(np.exp(values)) for values in nats)
    assert_close(same, probability, 1e-3)


def test_more_draws_give_the_tighter_bound():
    flow = variational("float32", spread=0.1)
    one = np.mean([flow.log_prob(IMAGES, seed) for seed in range(40)])
    many = np.mean([flow.log_prob(IMAGES, seed, num_importance_samples=40) for seed in range(10)])
    assert many > one + 0.1


def test_training_moves_the_networks_and_lowers_the_bound():
    """Images of two levels, one bit apart in all pixels: what noise to draw depends on the image."""
    flow = variational("float32", random_weights=None)
    images = np.repeat(np.array([0, 1], np.uint8), 16)[:, None, None, None] * np.ones(
        SHAPE, np.uint8
    )
    flow.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = [net.get_weights() for net in flow.networks[-4:]]
    history = flow.fit(images, batch_size=32, epochs=30, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for net, old in zip(flow.networks[-4:], before, strict=True):
        for new, was in zip(net.get_weights(), old, strict=True):
            assert np.any(new != was), net.name


@pytest.mark.parametrize("rematerialize", [False, True])
def test_training_with_less_memory_or_narrow_numbers_is_the_same(rematerialize):
    plain = variational("float32")
    config = {"mixed_precision": not rematerialize}
    other = variational("float32", rematerialize=rematerialize, **config)
    noise = np.random.default_rng(0).uniform(size=IMAGES.shape).astype(np.float32)
    expected = plain.log_prob_parts(IMAGES, noise, training=True)
    actual = other.log_prob_parts(IMAGES, noise, training=True)
    np.testing.assert_allclose(actual, expected, rtol=1e-5 if rematerialize else 0.1, atol=2.0)


def test_real_pixels_have_no_bins():
    with pytest.raises(
        lcma_tf.ConfigError, match="`dequantization` must be 'uniform' where pixels"
    ):
        lcma_tf.FlowConfig(SHAPE, real_valued=True, dequantization="variational")


def test_no_conditioner_is_refused():
    with pytest.raises(ValueError, match="`conditioners` must hold at least one; got none"):
        lcma_tf.bijectors.VariationalDequantization([], SHAPE)


def test_noise_of_another_shape_is_refused():
    flow = variational()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="shape"):
        flow.log_prob_parts(IMAGES, np.zeros((5, 3, 4, 2)))
