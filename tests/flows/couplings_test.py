"""Couplings by name: exact after training, in either flow; one of one's own through the table alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from bijector_cases import Bulge
from lcma_tf.bijectors import SplineCoupling
from lcma_tf.training.probe import probe
from testing import (
    assert_close,
    assert_same_in_any_batch,
    count_ops,
    jacobian,
    log_abs_det,
    random_images,
    tiny_flow,
    tiny_glow,
)

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
    np.testing.assert_allclose(parts(spline), parts(affine), rtol=1e-5, atol=1e-4)
    # Of each number of a curve the kernel, a magnitude or a scale, and a bias.
    reach = 9 if spline.config.flow == "glow" else 1
    added = sum(
        (SplineCoupling.num_parameters - 2) * network.out_channels * (reach * network.width + 2)
        for network in spline.networks
        if hasattr(network, "num_parameters")
    )
    assert added and spline.num_parameters == affine.num_parameters + added


def test_it_inverts_and_states_the_log_det_of_its_jacobian(make):
    model = make(coupling="spline", dtype="float64")
    y = tf.constant(np.random.default_rng(2).normal(size=(2, *SHAPE)))
    x, layers = model.flow.inverse_and_layer_terms(y)
    assert_close(model.flow.forward(tf.identity(x)), y, 1e-9)
    stated = np.sum(layers, (0, 2, 3, 4))
    assert_close(stated, [log_abs_det(jacobian(model.flow.inverse, one)) for one in y], 1e-9)


def test_frozen_saved_and_in_a_graph_it_says_the_same_by_one_pass(make, tmp_path):
    model, affine = (make(coupling=kind) for kind in ("spline", "affine"))
    for name in ("log_prob", "decode"):
        passes = [getattr(one.passes, name).get_concrete_function() for one in (model, affine)]
        assert count_ops(passes[0]) == count_ops(passes[1]) > 0
    scores = model.log_prob(IMAGES)
    np.testing.assert_allclose(model.frozen().log_prob(IMAGES), scores, rtol=1e-5)
    np.testing.assert_array_equal(model.frozen().decode(model.encode(IMAGES)), IMAGES)
    in_graph = tf.function(lambda: model.log_prob_parts(IMAGES, 0.5), autograph=False)()
    np.testing.assert_allclose(in_graph, model.log_prob_parts(IMAGES, 0.5), rtol=1e-5, atol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.config == model.config and loaded.config.coupling == "spline"
    np.testing.assert_array_equal(loaded.log_prob(IMAGES), scores)


@pytest.mark.parametrize("floatx", ["float64", "bfloat16"])
def test_floatx_is_about_other_models(make, floatx):
    usual = parts(make(coupling="spline"))
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        np.testing.assert_array_equal(parts(make(coupling="spline")), usual)
    finally:
        keras.config.set_floatx(before)


def test_every_number_of_a_curve_is_trained(trained):
    for network in trained.networks:
        if hasattr(network, "num_parameters"):
            assert network.num_parameters == SplineCoupling.num_parameters
            magnitude = np.asarray(network.output_magnitude)[2 * network.out_channels :]
            # Not that of a knot which no value comes near: the logits of these images are below 0.
            assert magnitude.size and np.mean(magnitude != 0) > 0.8


def test_trained_it_is_exact(trained):
    codes = trained.encode(IMAGES)
    np.testing.assert_array_equal(trained.decode(codes), IMAGES)
    again = trained.flow.inverse(tf.identity(trained.flow.forward(tf.identity(codes))))
    np.testing.assert_allclose(again, codes, rtol=1e-4, atol=1e-4)
    found = probe(trained, IMAGES)
    assert found.round_trip < 0.01 and found.log_det < 1e-4
    alone = np.concatenate([trained.log_prob(IMAGES[i : i + 3]) for i in range(0, 48, 3)])
    assert_same_in_any_batch(alone, trained.log_prob(IMAGES))


def test_of_noise_a_curve_may_lose_a_level_in_float32_and_none_in_float64(trained):
    """Noise is where a trained curve is flattest: float32's digits are all but used up there."""
    images = random_images(500, SHAPE, seed=1)
    off = np.abs(trained.decode(trained.encode(images)).numpy().astype(int) - images)
    assert off.max() <= 1 and off.any((1, 2, 3)).mean() <= 0.01
    model = tiny_flow("realnvp", coupling="spline", random_weights=None, dtype="float64")
    model.set_weights(trained.get_weights())
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)


@pytest.mark.parametrize("option", [{"mixed_precision": True}, {"rematerialize": True}])
def test_training_in_less_precision_or_memory(trained, option):
    model = tiny_flow("realnvp", coupling="spline", random_weights=None, **option)
    model.set_weights(trained.get_weights())
    error = np.abs(parts(model).sum(-1) / parts(trained).sum(-1) - 1).max()
    assert 1e-6 < error < 2e-2 if "mixed_precision" in option else error < 1e-5


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


def test_the_config_of_a_flow_of_earlier_code_is_one_of_affine_couplings():
    model = tiny_flow(random_weights=None)
    config = {name: value for name, value in model.config.to_dict().items() if name != "coupling"}
    assert lcma_tf.FlowConfig.from_dict(config) == model.config
    assert model.config.coupling == "affine"


def test_a_network_whose_config_says_no_number_of_parameters_has_two():
    """As in files of earlier code."""
    network = tiny_flow(random_weights=None).networks[0]
    config = {k: v for k, v in network.get_config().items() if k != "num_parameters"}
    again = type(network).from_config(config)
    assert again.num_parameters == 2
    for new, old in zip(again.variables, network.variables, strict=True):
        np.testing.assert_array_equal(new, old)
