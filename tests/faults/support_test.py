"""Nothing outside of [0, 256) has density, is drawn, or passes a gradient on; inside nothing changes."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from testing import assert_close, random_images, tiny_flow

SHAPE = (4, 4, 2)
IMAGES = random_images(3, SHAPE)


@pytest.fixture(scope="module")
def model():
    return tiny_flow()


def other_base(flow):
    """A user's own distribution around the bijector, of TFP's class, with a base of heavy tails."""
    base = tfp.distributions.Sample(tfp.distributions.StudentT(3.0, 0.0, 1.0), SHAPE)
    return tfp.distributions.TransformedDistribution(base, flow.bijector)


@pytest.fixture(scope="module", params=[lambda flow: flow, other_base], ids=["flow", "other base"])
def nats_and_gradient(model, request):
    """Of images, traced once."""
    distribution = request.param(model.distribution)

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)], autograph=False)
    def score(images):
        return tfp.math.value_and_gradient(distribution.log_prob, images)

    return score


@pytest.mark.parametrize("value", [-math.inf, -1e9, -14.3, -1e-3, 256.0, 270.0, 271.0, math.inf])
def test_outside(nats_and_gradient, value):
    images = IMAGES + np.float32(0.5)
    images[0] = value
    images[1, 2, 3, 1] = value
    nats, gradient = nats_and_gradient(images)
    assert (nats[:2] == -math.inf).numpy().all()
    assert not gradient[:2].numpy().any()
    alone, its_gradient = nats_and_gradient(images[2:])
    assert np.isfinite(alone).all()
    assert_close(nats[2:], alone, 1e-4)
    assert_close(gradient[2:], its_gradient, 1e-3)


@pytest.mark.parametrize("value", [0, 255])
def test_both_ends_of_8_bits_are_inside(model, value):
    images = np.full((1, *SHAPE), value, np.uint8)
    scores = [model.log_prob(images, seed) for seed in range(3)]
    assert np.isfinite(scores).all()
    for pixel in (value, np.nextafter(np.float32(value + 1), np.float32(0))):
        assert np.isfinite(model.distribution.log_prob(np.full((1, *SHAPE), pixel, np.float32)))
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_are_inside_and_have_the_density_that_is_told(dtype):
    flow = tiny_flow(dtype=dtype, num_couplings=3).distribution
    plain = tfp.distributions.TransformedDistribution(flow.distribution, flow.bijector)
    beyond = plain.sample(50, seed=(1, 2))
    assert np.mean((beyond < 0) | (beyond >= 256)) > 0.05  # Else this test would see nothing.
    pixels, nats = flow.experimental_sample_and_log_prob(50, seed=(1, 2))
    np.testing.assert_array_equal(pixels, np.clip(beyond, 0, 256 - 2.0**-16))
    assert_close(flow.sample(50, seed=(1, 2)), pixels, 1e-3)
    assert np.isfinite(nats).all()
    assert_close(nats, flow.log_prob(tf.identity(pixels)), 1e-3 if dtype == "float32" else 1e-9)


def test_a_draw_scored_at_once_is_scored_as_itself(model):
    pixels = model.distribution.sample(50, seed=(1, 2))
    again = model.distribution.log_prob(tf.identity(pixels))
    assert_close(model.distribution.log_prob(pixels), again, 1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_space_that_samplers_work_in_leads_to_pixels(dtype):
    flow = tiny_flow(dtype=dtype, num_couplings=3).distribution
    to_pixels = flow.experimental_default_event_space_bijector()
    real = tf.reshape(tf.cast(np.linspace(-100, 100, 32), dtype), [1, *SHAPE])
    pixels = to_pixels.forward(real)
    assert pixels.dtype == dtype and np.min(pixels) >= 0 and np.max(pixels) < 256
    assert np.min(pixels) < 1 and np.max(pixels) > 255
    assert np.isfinite(flow.log_prob(pixels))
    middle = tf.constant(random_images(1, SHAPE) + 0.5, dtype)
    assert_close(to_pixels.forward(tf.identity(to_pixels.inverse(middle))), middle, 1e-3)
