"""Without `compile` too, every training step has noise of its own, which a saved model goes on with."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from testing import random_images, tiny_flow

IMAGES = random_images(3, (4, 4, 1))


def tiny():
    return tiny_flow(image_shape=(4, 4, 1), num_scales=1)


def steps(model, number):
    """What `number` training steps of a program of one's own see: weights stay, so only noise moves."""
    step = tf.function(lambda images: model(images, training=True)[:, -1], autograph=False)
    return np.stack([step(IMAGES) for _ in range(number)])


@pytest.fixture(scope="module")
def expected():
    return steps(tiny(), 4)


def test_every_step_has_its_own_noise_decided_by_the_seed(expected):
    for first in range(4):
        for second in range(first):
            assert np.abs(expected[first] - expected[second]).max() > 1e-3
    model = tiny()
    eagerly = [model(IMAGES, training=True)[:, -1] for _ in range(4)]
    np.testing.assert_allclose(eagerly, expected, rtol=1e-5)


def test_scoring_takes_no_step(expected):
    model = tiny()
    before = model(IMAGES).numpy()
    np.testing.assert_array_equal(model(IMAGES), before)
    np.testing.assert_allclose(steps(model, 4), expected, rtol=1e-5)


def test_a_saved_model_goes_on(expected, tmp_path):
    model = tiny()
    steps(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(steps(loaded, 2), expected[2:], rtol=1e-5)


def test_the_optimizer_is_counted_where_calls_were_not(expected, tmp_path):
    """Weights of before, saved without a count, beside the state of their optimizer."""
    path = tmp_path / "old.weights.h5"
    model = tiny()
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["vars"]["0"]
    model = tiny()
    steps(model, 1)
    model.load_weights(path)
    assert int(model.training_calls) == 0
    model.compile(keras.optimizers.SGD(), jit_compile=False)
    model.optimizer.iterations.assign(2)
    np.testing.assert_allclose(steps(model, 2), expected[2:], rtol=1e-5)
