"""What images say by themselves: the rotation of their colours, their whitening, and samples of them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import ConfigError, Factorization, FactorizationError, FlowModel
from lcma_tf.bijectors import CausalWhitening
from lcma_tf.data import DataError
from lcma_tf.factorization.rotation import klt
from lcma_tf.training import image_statistics
from lcma_tf.training.image_statistics import (
    fit_channel_rotation,
    fit_whitening,
    sample_logits,
)
from lcma_tf.training.probe import probe
from testing import random_images, random_whitening, tiny_config

SHAPE = (4, 4, 3)
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("transform", ["two_sided", "one_sided"])
def test_the_fit_is_the_klt_of_what_enters_the_flow(transform):
    config = tiny_config(image_shape=SHAPE, pixel_transform=transform)
    images = random_images(300, SHAPE)  # More than a batch.
    images[..., 1] = images[..., 0] // 2 + images[..., 1] // 2
    found = fit_channel_rotation(config, images)
    p = (images + 0.5) / 256
    p = 0.05 + p * (0.9 if transform == "two_sided" else 0.95)
    covariance = np.cov(np.log(p / (1 - p)).reshape(-1, 3), rowvar=False)
    np.testing.assert_allclose(found, klt(covariance), atol=1e-9)
    np.testing.assert_array_equal(found, fit_channel_rotation(config, images))


def test_samples_are_turned_images_with_noise():
    config, images = tiny_config(image_shape=SHAPE), random_images(5, SHAPE)
    plain = sample_logits(config, images)
    turned = Factorization("none", SHAPE, rotations=[TURN])
    again = sample_logits(config, images, turned)
    np.testing.assert_allclose(again, plain @ TURN.T, atol=1e-6)
    whitening = random_whitening(3)
    both = dataclasses.replace(turned, whitening=whitening)
    np.testing.assert_array_equal(sample_logits(config, images, both), whitening(again))
    pixels = 256 * ((1 / (1 + np.exp(-plain))) - 0.05) / 0.9
    np.testing.assert_array_equal(np.floor(pixels), images)
    assert len(sample_logits(config, random_images(900, SHAPE))) == 800


@pytest.mark.parametrize("shape", [(12, 12, 3), (6, 5, 1)])
def test_whitened_images_are_white(shape):
    config = tiny_config(image_shape=shape, num_scales=1)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(600, *shape))
    smooth = noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + noise[..., :1]
    images = np.clip(128 + 20 * smooth, 0, 255).astype(np.uint8)
    decided = Factorization("none", shape)
    if shape[-1] > 1:
        decided = dataclasses.replace(decided, rotations=[fit_channel_rotation(config, images)])
    whitening = fit_whitening(config, images, decided)
    assert whitening == fit_whitening(config, images, decided)  # Whoever fits it.
    white = sample_logits(config, images, dataclasses.replace(decided, whitening=whitening))
    np.testing.assert_allclose(white.std(axis=(0, 1, 2)), 1.0, atol=0.03)
    before = sample_logits(config, images, decided)
    for away in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2)):
        for channel in range(shape[-1]):
            assert abs(correlation(white, away, channel)) < 0.06
    assert correlation(before, (0, 1), 0) > 0.2
    if shape[-1] > 1:
        across = np.corrcoef(white.reshape(-1, shape[-1]).T)
        np.testing.assert_allclose(across, np.eye(shape[-1]), atol=0.03)


def test_a_whitening_is_fitted_to_a_part_of_a_large_set(monkeypatch):
    config, images = tiny_config(image_shape=SHAPE), random_images(600, SHAPE)
    whole = fit_whitening(config, images)
    monkeypatch.setattr(image_statistics, "_PLACES_AT_ONCE", 7 * 16)  # Seven images.
    again = fit_whitening(config, images)
    np.testing.assert_allclose(again.kernel, whole.kernel, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(image_statistics, "_MAX_PLACES", 300 * 16)
    logits = []
    count = image_statistics.causal_moments
    monkeypatch.setattr(
        image_statistics, "causal_moments", lambda x, reach: logits.append(x) or count(x, reach)
    )
    part = fit_whitening(config, images, seed=1)
    assert sum(map(len, logits)) == 300
    np.testing.assert_allclose(part.kernel, whole.kernel, atol=0.1)
    assert part != fit_whitening(config, images, seed=2)


@pytest.mark.parametrize("slope", [2.5, 3.0, 4.0])
def test_images_whose_best_prediction_is_not_stable_come_back(slope):
    """Waves along the columns: errors of the inverse grow by a part from row to row."""
    config = tiny_config(image_shape=(64, 64, 1), num_scales=1)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    phases = rng.uniform(0.1, 0.6, (16, 1, 1)) * (slope * rows + columns)
    waves = 128 + 100 * np.sin(phases + rng.uniform(0, 6, (16, 1, 1)))
    images = np.clip(waves + rng.normal(size=waves.shape), 0, 255).astype(np.uint8)[..., None]
    whitening = fit_whitening(config, images)
    model = FlowModel(config, Factorization("none", (64, 64, 1), whitening=whitening))
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)
    assert probe(model, images).round_trip < 0.1
    noise = tf.constant(rng.normal(size=(4, 64, 64, 1)))
    drawn = CausalWhitening(whitening, (64, 64, 1)).forward(noise)
    assert drawn.numpy().std() < 5


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"factorization": TURN}, ConfigError, "`factorization` must be a Factorization or None"),
        (
            {"factorization": Factorization("none", (8, 8, 3))},
            FactorizationError,
            r"`factorization` must be for images of \(4, 4, 3\); got one for \(8, 8, 3\)",
        ),
        ({"seed": -1}, FactorizationError, "`seed` must be at least 0; got -1"),
        ({"seed": "a"}, FactorizationError, "`seed` must be an integer; got 'a'"),
    ],
)
@pytest.mark.parametrize("function", [fit_whitening, sample_logits])
def test_another_factorization_or_seed_is_refused(function, changes, error, message):
    with pytest.raises(error, match=message):
        function(tiny_config(image_shape=SHAPE), random_images(3, SHAPE), **changes)


def correlation(images, away, channel):
    """Of a channel at places so many rows and columns from one another, inside the image."""
    moved = np.roll(images, away, (1, 2))[:, 2:, 2:-2, channel]
    return np.corrcoef(images[:, 2:, 2:-2, channel].ravel(), moved.ravel())[0, 1]


@pytest.mark.parametrize("function", [fit_channel_rotation, fit_whitening, sample_logits])
def test_images_of_another_shape_cannot_be_looked_at(function):
    for images in (random_images(3, (4, 4, 1)), random_images(0, SHAPE)):
        with pytest.raises(FactorizationError, match=r"`images` must have shape \('N', 4, 4, 3\)"):
            function(tiny_config(image_shape=SHAPE), images)
    with pytest.raises(DataError, match="`images` must be .*; got list"):
        function(tiny_config(image_shape=SHAPE), random_images(3, SHAPE).tolist())
    for pixel, said in ((255.5, "0 to 255.5"), (-1, "-1 to 0"), (np.nan, "nan to nan")):
        outside = np.zeros((3, *SHAPE), np.float32)
        outside[1, 2, 3] = pixel
        with pytest.raises(FactorizationError, match=f"pixels from 0 to 255; got {said}"):
            function(tiny_config(image_shape=SHAPE), outside)
    with pytest.raises(ConfigError, match="`config` must be a FlowConfig; got None"):
        function(None, random_images(3, SHAPE))
