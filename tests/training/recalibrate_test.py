"""Recalibration: moving moments become equal-weight means over batches, and nothing else changes."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.data import training_batches
from lcma_tf.factorization.masks import checkerboard
from lcma_tf.model.recalibration import noise_of, recalibrate
from testing import random_images, tiny_flow

BATCH, SEED = 5, 3


@pytest.fixture(scope="module")
def model():
    return tiny_flow("none", num_scales=1)


@pytest.fixture(scope="module")
def images(model):
    return random_images(24, model.config.image_shape)


def moments(model):
    return [variable.numpy() for variable in model.non_trainable_variables]


@pytest.mark.parametrize(("max_batches", "num_batches"), [(2, 2), (100, 4)])
def test_moments_of_the_first_batch_norm(model, images, max_batches, num_batches):
    recalibrate(model, images, BATCH, SEED, max_batches)
    means, variances = [], []
    for index, batch in enumerate(training_batches(images, BATCH, SEED).take(num_batches)):
        noise = noise_of(model, SEED, tf.constant(index), num_rows=BATCH)
        share = (batch.numpy() + noise.numpy().astype(float)) / 256
        alpha = model.config.alpha
        share = alpha + (1 - 2 * alpha) * share
        kept = np.log(share / (1 - share)) * checkerboard(model.config.image_shape)
        means.append(kept.mean((0, 1, 2)))
        variances.append(kept.var((0, 1, 2)))
    first = model.networks[0]
    mean, variance = (moment.numpy() for moment in first.input_moments)
    np.testing.assert_allclose(mean, np.mean(means, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, np.mean(variances, 0), rtol=1e-4)


def test_weights_do_not_change(model, images):
    before = [variable.numpy() for variable in model.trainable_variables]
    recalibrate(model, images, BATCH)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)


def test_old_moments_leave_no_trace(model, images):
    recalibrate(model, images, BATCH, SEED)
    expected, scores = moments(model), model.log_prob(images).numpy()
    assert np.isfinite(scores).all()
    for variable in model.non_trainable_variables:
        if "mean" in variable.name or "variance" in variable.name:
            variable.assign(1e3 * np.ones(variable.shape))
    assert not np.allclose(model.log_prob(images), scores)
    recalibrate(model, images, BATCH, SEED)
    for new, old in zip(moments(model), expected, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(model.log_prob(images), scores, rtol=1e-4)


def test_scores_in_inference_mode_move_no_moments(model, images):
    recalibrate(model, images, BATCH, SEED)
    expected = moments(model)
    together = model.log_prob(images).numpy()
    alone = np.concatenate([model.log_prob(image[None]) for image in images[:3]])
    np.testing.assert_allclose(alone, together[:3], rtol=1e-5)
    for new, old in zip(moments(model), expected, strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be at least 1; got 0"),
        ({"batch_size": "8"}, "`batch_size` must be an integer; got '8'"),
        ({"max_batches": -1}, "`max_batches` must be at least 1; got -1"),
        ({"seed": (0, 1)}, r"`seed` must be one integer; got \(0, 1\)"),
        ({"model": "flow"}, "`model` must be a FlowModel; got 'str'"),
        ({"images": None}, "`images` must be a uint8 or float32 array .*; got NoneType"),
        ({"images": random_images(0, (4, 4, 2))}, r"at least one image; got \[0, 4, 4, 2\]"),
        ({"images": random_images(6, (2, 4, 2))}, r"shape \[N, 4, 4, 2\]; got \[6, 2, 4, 2\]"),
        ({"images": np.zeros((6, 4, 4, 2), np.float32)}, "uint8 .* got dtype float32"),
    ],
)
def test_senseless_arguments_are_refused(model, images, options, message):
    expected = moments(model)
    with pytest.raises(ValueError, match=message):
        recalibrate(**{"model": model, "images": images, "verbose": False, **options})
    for new, old in zip(moments(model), expected, strict=True):
        np.testing.assert_array_equal(new, old)


def test_a_frozen_flow_has_no_moments_to_set(model, images):
    with pytest.raises(ValueError, match="`model` must be a FlowModel; got 'FrozenFlow'"):
        recalibrate(model.frozen(), images, verbose=False)


def test_fewer_images_than_a_batch(model, images):
    recalibrate(model, images[:3], batch_size=64)
    assert np.isfinite(model.log_prob(images)).all()
