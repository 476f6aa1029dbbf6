"""Couplings by name: exact after training, in either flow; one of one's own through the table alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from lcma_tf.bijectors import CurvedCoupling, SplineCoupling
from lcma_tf.training.probe import probe
from testing import assert_same_in_any_batch, random_images, tiny_flow, tiny_glow

SHAPE = (4, 4, 2)
FLOWS = {
    "realnvp": lambda **options: tiny_flow("realnvp", **options),
    "glow": lambda **options: tiny_glow(
        "realnvp", image_shape=SHAPE, **{"num_steps_per_scale": 1, **options}
    ),
}
IMAGES = random_images(48, SHAPE) // 2


@pytest.fixture(params=FLOWS)
def make(request):
    return FLOWS[request.param]


@pytest.fixture(scope="module")
def trained():
    """After some steps, by a rate that moves it far."""
    model = tiny_flow("realnvp", coupling="spline", random_weights=None)
    model.compile(keras.optimizers.Adam(2e-2), jit_compile=False)
    model.fit(IMAGES, batch_size=16, epochs=15, verbose=0)
    return model


def parts(model):
    return np.asarray(model.log_prob_parts(IMAGES, 0.5, training=True))


def test_a_new_flow_is_the_affine_one(make):
    affine, spline = (make(random_weights=None, coupling=kind) for kind in ("affine", "spline"))
    assert spline.num_parameters > affine.num_parameters
    np.testing.assert_allclose(parts(spline), parts(affine), rtol=1e-5, atol=1e-4)


def test_every_number_of_a_curve_is_trained(trained):
    for network in trained.networks:
        if hasattr(network, "num_parameters"):
            assert network.num_parameters == SplineCoupling.num_parameters
            magnitude = np.asarray(network.output_magnitude)[2 * network.out_channels :]
            # Not that of a knot which no value comes near: the logits of these images are below 0.
            assert magnitude.size and np.mean(magnitude != 0) > 0.8


def test_trained_it_is_exact(trained):
    images = np.concatenate([IMAGES, random_images(500, SHAPE, seed=1)])
    codes = trained.encode(images)
    np.testing.assert_array_equal(trained.decode(codes), images)
    again = trained.flow.inverse(tf.identity(trained.flow.forward(tf.identity(codes))))
    np.testing.assert_allclose(again, codes, rtol=1e-4, atol=1e-4)
    found = probe(trained, IMAGES)
    assert found.round_trip < 0.01 and found.log_det < 1e-4
    alone = np.concatenate([trained.log_prob(IMAGES[i : i + 3]) for i in range(0, 48, 3)])
    assert_same_in_any_batch(alone, trained.log_prob(IMAGES))


@pytest.mark.parametrize("option", [{"mixed_precision": True}, {"rematerialize": True}])
def test_training_in_less_precision_or_memory(trained, option):
    model = tiny_flow("realnvp", coupling="spline", random_weights=None, **option)
    model.set_weights(trained.get_weights())
    error = np.abs(parts(model).sum(-1) / parts(trained).sum(-1) - 1).max()
    assert 1e-6 < error < 2e-2 if "mixed_precision" in option else error < 1e-5


class Bulge(CurvedCoupling):
    """Another slope above 0 than below."""

    num_parameters = 3

    def bend(self, values, curve):
        log_slope = tf.where(values > 0, tf.tanh(curve[0]), 0)
        return values * tf.exp(log_slope), log_slope

    def unbend(self, values, curve):
        log_slope = tf.where(values > 0, tf.tanh(curve[0]), 0)
        return values * tf.exp(-log_slope), log_slope


def test_one_of_ones_own_is_a_line_in_the_table(make, monkeypatch, tmp_path):
    with pytest.raises(lcma_tf.ConfigError, match="`coupling` must be one of affine, spline; got"):
        make(coupling="bulge")
    monkeypatch.setitem(lcma_tf.choices.COUPLINGS, "bulge", Bulge)
    model = make(coupling="bulge")
    assert np.any(np.abs(parts(model) - parts(make(coupling="affine"))) > 0.1)
    found = probe(model, IMAGES)
    assert found.round_trip < 0.1 and found.log_det < 1e-4
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.log_prob_parts(IMAGES, 0.5, training=True))
    weights = [variable.value for variable in model.trainable_variables]
    assert all(np.all(np.isfinite(gradient)) for gradient in tape.gradient(loss, weights))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(parts(loaded), parts(model))


def test_a_network_whose_config_says_no_number_of_parameters_has_two():
    """As in files of earlier code."""
    network = tiny_flow(random_weights=None).networks[0]
    config = {k: v for k, v in network.get_config().items() if k != "num_parameters"}
    again = type(network).from_config(config)
    assert again.num_parameters == 2
    for new, old in zip(again.variables, network.variables, strict=True):
        np.testing.assert_array_equal(new, old)
