"""What images say by themselves: the rotation that decorrelates their colours, and samples of them."""

import numpy as np
import pytest

from lcma_tf import ConfigError, FactorizationError
from lcma_tf.data import DataError
from lcma_tf.factorization.rotation import klt
from lcma_tf.training.image_statistics import fit_channel_rotation, sample_logits
from testing import random_images, tiny_config

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
    again = sample_logits(config, images, TURN)
    np.testing.assert_allclose(again, plain @ TURN.T)
    pixels = 256 * ((1 / (1 + np.exp(-plain))) - 0.05) / 0.9
    np.testing.assert_array_equal(np.floor(pixels), images)
    assert len(sample_logits(config, random_images(900, SHAPE))) == 800


@pytest.mark.parametrize("function", [fit_channel_rotation, sample_logits])
def test_images_of_another_shape_cannot_be_looked_at(function):
    for images in (random_images(3, (4, 4, 1)), random_images(0, SHAPE)):
        with pytest.raises(FactorizationError, match=r"`images` must have shape \('N', 4, 4, 3\)"):
            function(tiny_config(image_shape=SHAPE), images)
    with pytest.raises(DataError, match="`images` must be .*; got list"):
        function(tiny_config(image_shape=SHAPE), random_images(3, SHAPE).tolist())
    for pixel, said in ((300, "0 to 300"), (-1, "-1 to 0"), (np.nan, "nan to nan")):
        outside = np.zeros((3, *SHAPE), np.float32)
        outside[1, 2, 3] = pixel
        with pytest.raises(FactorizationError, match=rf"pixels in \[0, 256\); got {said}"):
            function(tiny_config(image_shape=SHAPE), outside)
    with pytest.raises(ConfigError, match="`config` must be a FlowConfig; got None"):
        function(None, random_images(3, SHAPE))
