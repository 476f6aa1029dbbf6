"""Averaged weights: what is validated and kept are they, and training goes on as if they were not."""

import shutil

import keras
import numpy as np
import pytest

from lcma_tf import NegativeLogLikelihood
from lcma_tf.config import TrainConfig
from lcma_tf.model import recalibrate
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training.averaged_weights import AveragedWeights
from lcma_tf.training.backup import Resume
from lcma_tf.training.callbacks import BestWeights
from lcma_tf.training.phase import make_optimizer
from testing import random_images, tiny_flow

SHAPE = (2, 2, 1)
IMAGES = random_images(12, SHAPE)
BATCH = 4


class Spy(keras.callbacks.Callback):
    """The weights that training leaves, those at the end of each epoch, and those of the next one."""

    def __init__(self):
        super().__init__()
        self.trained, self.lent, self.after, self.averages = [], [], [], []

    def on_test_begin(self, logs=None):  # Before the averages are lent.
        self.trained.append(self.model.get_weights())
        self.averages.append([a.numpy() for _, a in self.model.optimizer.averages()])

    def on_epoch_end(self, epoch, logs=None):
        self.lent.append(self.model.get_weights())


class SpyAfter(keras.callbacks.Callback):
    def __init__(self, spy, backup):
        super().__init__()
        self._spy, self._backup = spy, backup

    def on_epoch_end(self, epoch, logs=None):
        self._spy.after.append(self.model.get_weights())
        if epoch == 0:
            shutil.copytree(self._backup, self._backup.with_name("first"))


def fit(model, folder, spy, initial_epoch=0):
    backup = folder / "backup"
    return model.fit(
        IMAGES,
        batch_size=BATCH,
        epochs=3,
        initial_epoch=initial_epoch,
        shuffle=False,
        validation_data=(IMAGES[:8],),
        verbose=0,
        recalibrate=False,
        callbacks=[
            spy,
            BestWeights(folder / "best.weights.h5"),
            AveragedWeights(IMAGES, BATCH, seed=0),
            Resume(backup),
            SpyAfter(spy, backup),
        ],
    ).history


@pytest.fixture(scope="module")
def model():
    model = tiny_flow(image_shape=SHAPE, num_scales=1)
    optimizer = make_optimizer(TrainConfig(learning_rate=0.05, ema=0.9), 9)
    model.compile(optimizer, loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def unbroken(model, tmp_path_factory):
    folder, spy = tmp_path_factory.mktemp("unbroken"), Spy()
    history = fit(model, folder, spy)
    best = int(np.argmin(history["val_bits_per_dim"]))
    model.load_weights(folder / "best.weights.h5")
    return folder, spy, history, best, model.get_weights()


def assert_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def trainable(model, weights):
    names = {variable.path for variable in model.trainable_variables}
    return [w for v, w in zip(model.weights, weights, strict=True) if v.path in names]


def test_the_averages_are_lent_and_training_goes_on_with_its_own(model, unbroken):
    _, spy, *_ = unbroken
    for trained, averages, lent, after in zip(
        spy.trained, spy.averages, spy.lent, spy.after, strict=True
    ):
        assert_equal(trainable(model, lent), averages)
        assert any(np.any(one != other) for one, other in zip(lent, trained, strict=True))
        assert_equal(after, trained)


def test_the_best_state_is_that_of_the_averages(unbroken):
    _, spy, _, best, kept = unbroken
    assert_equal(kept, spy.lent[best])


def test_what_is_validated_has_statistics_of_its_own(model, unbroken):
    _, spy, history, *_ = unbroken
    model.set_weights(spy.lent[-1])
    score = model.evaluate(IMAGES[:8], batch_size=BATCH, verbose=0, return_dict=True)
    np.testing.assert_allclose(score["bits_per_dim"], history["val_bits_per_dim"][-1], rtol=1e-6)
    recalibrate(model, IMAGES, BATCH, seed=0, verbose=False)
    for ours, theirs in zip(model.get_weights(), spy.lent[-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_run_that_was_stopped_ends_as_the_unbroken_one(model, unbroken, tmp_path):
    folder, spy, history, *_ = unbroken
    shutil.copytree(folder / "first", tmp_path / "backup")
    for variable in (*model.weights, *model.optimizer.variables):
        variable.assign(np.full(variable.shape, 7))
    assert Resume(tmp_path / "backup").restore(model) == 3
    again = Spy()
    found = fit(model, tmp_path, again, initial_epoch=1)
    for ours, theirs in ((again.after, spy.after[1:]), (again.lent, spy.lent[1:])):
        for one, other in zip(ours, theirs, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found["val_bits_per_dim"], history["val_bits_per_dim"][1:], rtol=1e-5
    )


def test_it_needs_an_optimizer_that_averages():
    model = tiny_flow(image_shape=SHAPE, num_scales=1, random_weights=None)
    model.compile(FusedAdam(), jit_compile=False)
    with pytest.raises(ValueError, match="needs a model compiled with FusedAdam.use_ema=True"):
        AveragedWeights(IMAGES, BATCH, seed=0).set_model(model)
