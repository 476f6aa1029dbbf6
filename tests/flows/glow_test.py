"""Glow as a flow: exact, begun by data, trained, saved, frozen, and decided on by LCMA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from testing import (
    assert_close,
    assert_same_in_any_batch,
    jacobian,
    log_abs_det,
    random_images,
    tiny_glow,
)

SHAPE = (8, 8, 2)
IMAGES = random_images(48, SHAPE) // 2


def begun(model):
    """Of every act norm, whether data have set it."""
    norms = [net for net in model.networks if hasattr(net, "initialized")]
    return [bool(norm.initialized.numpy()) for norm in norms]


@pytest.fixture(scope="module")
def trained():
    """After a few steps, by a rate that moves it far."""
    model = tiny_glow("realnvp", random_weights=None)
    assert begun(model) == [False] * 4
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(IMAGES, batch_size=16, epochs=4, verbose=0)
    return model


@pytest.mark.parametrize("rule", ["lcma", "none"])
def test_it_inverts_and_states_the_log_det_of_its_jacobian(rule):
    model = tiny_glow(rule, "float64", image_shape=(4, 4, 1))
    y = tf.constant(np.random.default_rng(2).normal(size=(2, 4, 4, 1)))
    x, layers = model.flow.inverse_and_layer_terms(y)
    assert_close(model.flow.forward(tf.identity(x)), y, 1e-9)
    stated = np.sum(layers, (0, 2, 3, 4))
    measured = [log_abs_det(jacobian(model.flow.inverse, one)) for one in y]
    assert_close(stated, measured, 1e-9)


def test_the_first_batch_makes_all_that_enters_a_convolution_alike():
    model = tiny_glow("none", random_weights=None)
    seen = []
    noise = np.random.default_rng(0).uniform(size=(48, *SHAPE))
    model.log_prob_parts(IMAGES, noise, training=True)
    assert begun(model) == [True] * 4

    def visit(part, value):
        value = part.inverse(value)
        if part.name.endswith("_norm"):
            seen.append(value)
        return value

    y = model.passes._pixels.inverse(IMAGES + noise)
    model.flow.inverse_by_part(tf.cast(y, tf.float32), visit)
    assert len(seen) == 4
    for value in seen:
        np.testing.assert_allclose(np.mean(value, (0, 1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(np.std(value, (0, 1, 2)), 1, atol=1e-3)


def test_training_lowers_bits_per_dim_and_images_come_back_whole(trained):
    fresh = tiny_glow("realnvp", random_weights=None)
    assert np.mean(trained.bits_per_dim(IMAGES)) < np.mean(fresh.bits_per_dim(IMAGES)) - 0.5
    images = np.concatenate([IMAGES, random_images(200, SHAPE, seed=1)])
    np.testing.assert_array_equal(trained.decode(trained.encode(images)), images)
    assert np.isfinite(trained.sample(4, seed=1)).all()


def test_a_score_does_not_depend_on_the_batch(trained):
    together = trained.log_prob(IMAGES).numpy()
    alone = np.concatenate([trained.log_prob(IMAGES[i : i + 3]) for i in range(0, 48, 3)])
    assert_same_in_any_batch(alone, together)


def test_every_weight_is_trained(trained):
    fresh = tiny_glow("realnvp", random_weights=None)
    for new, old in zip(trained.trainable_variables, fresh.trainable_variables, strict=True):
        assert np.any(np.asarray(new) != np.asarray(old)), new.path
    seen = {id(variable) for variable in trained.distribution.trainable_variables}
    assert seen == {id(variable.value) for variable in trained.trainable_variables}


def test_there_is_nothing_to_recalibrate(trained):
    before = trained.get_weights()
    lcma_tf.recalibrate(trained, IMAGES, batch_size=16)
    fresh = tiny_glow("realnvp", random_weights=None)
    lcma_tf.recalibrate(fresh, IMAGES, batch_size=16)
    assert not any(begun(fresh))
    for new, old in zip(trained.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)


def test_saved_and_loaded_it_is_the_same_and_does_not_begin_again(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = lcma_tf.load(tmp_path)
    for variable, expected in zip(loaded.variables, trained.variables, strict=True):
        np.testing.assert_array_equal(variable, expected, expected.path)
    np.testing.assert_array_equal(loaded.log_prob(IMAGES), trained.log_prob(IMAGES))
    assert all(begun(loaded))
    loaded(random_images(8, SHAPE), training=True)
    np.testing.assert_array_equal(loaded.log_prob(IMAGES), trained.log_prob(IMAGES))


def test_frozen_it_says_the_same(trained):
    frozen = trained.frozen()
    np.testing.assert_allclose(frozen.log_prob(IMAGES), trained.log_prob(IMAGES), rtol=1e-5)
    np.testing.assert_array_equal(frozen.decode(frozen.encode(IMAGES)), IMAGES)
    assert np.mean(frozen.sample(4, seed=2) != trained.sample(4, seed=2)) < 0.01
    theirs = {id(variable.value) for variable in trained.variables}
    assert not theirs & {id(variable) for variable in frozen.variables}
    assert not frozen.trainable_variables
    narrow = trained.frozen(mixed_precision=True).log_prob(IMAGES)
    assert 0 < np.abs(narrow / trained.log_prob(IMAGES) - 1).max() < 1e-2


@pytest.mark.parametrize("option", [{"mixed_precision": True}, {"rematerialize": True}])
def test_training_in_less_precision_or_memory(trained, option):
    """The same to their rounding: each option reaches every conditioner."""
    model = tiny_glow("realnvp", random_weights=None, **option)
    model.set_weights(trained.get_weights())
    noise = np.random.default_rng(0).uniform(size=IMAGES.shape)
    found = [
        np.asarray(tf.reduce_sum(m.log_prob_parts(IMAGES, noise, training=True), -1))
        for m in (model, trained)
    ]
    error = np.abs(found[0] / found[1] - 1).max()
    assert 1e-6 < error < 1e-2 if "mixed_precision" in option else error < 1e-5
    couplings = [net for net in model.networks if hasattr(net, "width")]
    assert len(couplings) == 4 and all(getattr(net, *option) for net in couplings)


def test_the_number_of_parameters():
    model = tiny_glow("realnvp", image_shape=(16, 16, 3), num_steps_per_scale=3, num_scales=3)
    total, width = 0, model.config.base_dim
    for channels in (12, 24, 48):  # Of the squeezed image of each level.
        half = channels // 2
        hidden = 9 * half * width + width + width**2 + width
        last = 9 * width * 2 * half + 2 * (2 * half)
        total += 3 * (2 * channels + channels**2 + hidden + last)
    assert model.num_parameters == total


def test_lcma_decides_on_it():
    images = IMAGES[..., :1]
    config = lcma_tf.FlowConfig((8, 8, 1), "glow", num_scales=2, base_dim=4, num_steps_per_scale=1)
    steps = lcma_tf.TrainConfig(
        split_rule="lcma", batch_size=8, pretrain_steps=3, train_steps=3, steps_per_epoch=3
    )
    decided = lcma_tf.learn_factorization(config, images, steps)
    assert decided.rule == "lcma" and [mask.shape for mask in decided.masks] == [(8, 8, 1)]
    model = lcma_tf.FlowModel(config, decided)
    contributions = lcma_tf.average_contributions(model, images)
    assert [layer.shape for layer in contributions] == [(8, 8, 1), (8, 8, 1)]
    mean = np.mean(np.sum(model.layer_terms(images, 0.5), axis=(0, 2, 3, 4)))
    np.testing.assert_allclose(np.sum(contributions[-1]), mean, rtol=1e-4)


def test_exits_by_a_residual_network_are_as_wide_as_the_couplings_of_their_level():
    for widths, expected in ((None, [4, 4]), ((3, 5, 7), [3, 5])):
        model = tiny_glow(
            random_weights=None,
            num_scales=3,
            num_steps_per_scale=1,
            exit_prior="residual",
            level_widths=widths,
        )
        assert [net.width for net in model.networks if net.name.endswith("_exit")] == expected
