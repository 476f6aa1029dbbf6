"""A tiny flow, images that are normal to it, and its calibration."""

import numpy as np
import pytest

import lcma_tf
from testing import tiny_flow

SHAPE = (4, 4, 1)


def smooth_images(count, seed=0, shape=SHAPE):
    """Images of one kind: a level each, and a little noise."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(40, 200, (count, 1, 1, shape[-1]))
    return (levels + rng.integers(0, 40, (count, *shape))).astype(np.uint8)


@pytest.fixture(scope="session")
def draw():
    return smooth_images


@pytest.fixture(scope="module")
def model():
    return tiny_flow(image_shape=SHAPE)


@pytest.fixture(scope="module")
def calibration(model):
    return lcma_tf.calibrate(model, smooth_images(600), false_alarm_rate=0.05, verbose=False)


@pytest.fixture(scope="module")
def scored(model, calibration):
    return lcma_tf.ScoredFlow(model, calibration)
