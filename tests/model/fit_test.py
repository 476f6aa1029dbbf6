"""`compile` and `fit`: the loss falls, and is in the unit it says."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import NegativeLogLikelihood, recalibrate
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training.callbacks import StopAtStep
from testing import assert_close, tiny_flow

SHAPE = (4, 4, 2)
NATS_PER_BIT_PER_DIM = 32 * math.log(2)
PARTS = ["latent", "layer_1", "layer_2", "pixel"]


def smooth_images(n=64):
    """Images with something to learn: near one grey each, around the middle."""
    rng = np.random.default_rng(0)
    grey = rng.integers(60, 190, (n, 1, 1, 1))
    return (grey + rng.integers(-4, 5, (n, *SHAPE))).astype(np.uint8)


IMAGES = smooth_images()


@pytest.fixture(scope="module")
def trained():
    """A model after one step, and then some epochs more; what each has told and changed."""
    model = tiny_flow(base_dim=4)
    model.compile(
        FusedAdam(1e-2, global_clipnorm=100.0), loss=NegativeLogLikelihood(), jit_compile=False
    )
    variables = [variable for network in model.networks for variable in network.variables]
    before = [variable.numpy() for variable in variables]
    l2 = float(sum(model.losses))
    first = model.fit(IMAGES, batch_size=64, verbose=0).history
    unmoved = [v.path for v, old in zip(variables, before, strict=True) if np.all(v.numpy() == old)]
    later = model.fit(IMAGES, batch_size=64, epochs=60, verbose=0, shuffle=False).history
    return model, {"first": first, "later": later, "l2": l2, "unmoved": unmoved}


def test_the_loss_falls(trained):
    _, told = trained
    falls = told["later"]["bits_per_dim"]
    assert falls[-1] < told["first"]["bits_per_dim"][0] - 1
    assert falls[-1] < 7.5  # Bits: below what images without structure would cost.


def test_one_step_moves_every_variable(trained):
    assert trained[1]["unmoved"] == []


def test_the_training_loss_is_nats_per_image_and_l2(trained):
    _, told = trained
    nats = told["first"]["bits_per_dim"][0] * NATS_PER_BIT_PER_DIM
    assert told["l2"] > 0
    np.testing.assert_allclose(told["first"]["loss"], nats + told["l2"], rtol=1e-6)


def test_the_parts_sum_to_the_whole(trained):
    model, told = trained
    assert sorted(model.part_names) == PARTS
    for logs in (told["first"], told["later"]):
        parts = sum(np.array(logs[name]) for name in PARTS)
        np.testing.assert_allclose(parts, logs["bits_per_dim"], rtol=1e-5)
        assert set(logs) == {"loss", "bits_per_dim", *PARTS}


def test_validation_is_the_public_score(trained):
    model, _ = trained
    # Batches of unequal size: every image counts once.
    logs = model.evaluate(IMAGES[:50], batch_size=32, verbose=0, return_dict=True)
    log_prob = model.log_prob(IMAGES[:50]).numpy()
    bits = model.bits_per_dim(IMAGES[:50]).numpy()
    assert_close(logs["bits_per_dim"], bits.mean(), 1e-4)
    assert_close(logs["loss"], -log_prob.mean() + float(sum(model.losses)), 1e-4)


def test_a_run_stops_at_its_last_step(trained):
    model, _ = trained
    done = int(model.optimizer.iterations)
    model.fit(IMAGES, batch_size=64, epochs=9, verbose=0, callbacks=[StopAtStep(done + 6)])
    assert int(model.optimizer.iterations) == done + 6


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return (IMAGES[16 * index : 16 * index + 16],)


def generated():
    while True:
        for start in range(0, 64, 16):
            yield (IMAGES[start : start + 16],)


KINDS_OF_INPUT = {
    "array": lambda: {"x": IMAGES, "batch_size": 16},
    "tensor": lambda: {"x": tf.constant(IMAGES), "batch_size": 16},
    "dataset": lambda: {"x": tf.data.Dataset.from_tensor_slices(IMAGES).batch(16)},
    "endless": lambda: {
        "x": tf.data.Dataset.from_tensor_slices(IMAGES).batch(16).repeat(),
        "steps_per_epoch": 4,
    },
    "py_dataset": lambda: {"x": Batches()},
    "generator": lambda: {"x": generated(), "steps_per_epoch": 4},
}


@pytest.fixture(scope="module")
def compiled():
    model = tiny_flow(base_dim=4)
    adam = FusedAdam(1e-4, global_clipnorm=100.0)
    model.compile(adam, loss=NegativeLogLikelihood(), jit_compile=False)
    return model


@pytest.fixture
def lagging(compiled):
    """A flow whose moving averages are far from those of its weights, and stay so for some steps."""
    for variable in compiled.non_trainable_variables:
        if "mean" in variable.name or "variance" in variable.name:
            variable.assign(10 * np.ones(variable.shape))
    return compiled


def change_by_recalibration(model):
    """Of the mean bits/dim, if the statistics are made right anew."""
    before = float(np.mean(model.bits_per_dim(IMAGES)))
    recalibrate(model, IMAGES, batch_size=16)
    return abs(float(np.mean(model.bits_per_dim(IMAGES))) - before)


def test_moving_averages_lag(lagging):
    lagging.fit(IMAGES, batch_size=16, verbose=0, recalibrate=False)
    assert change_by_recalibration(lagging) > 1


@pytest.mark.parametrize("kind", KINDS_OF_INPUT)
def test_fit_ends_with_statistics_that_belong_to_the_weights(lagging, kind):
    assert lagging.fit(**KINDS_OF_INPUT[kind](), verbose=0).history["loss"]
    assert change_by_recalibration(lagging) < 0.2


def test_statistics_come_after_the_callbacks(lagging):
    """`EarlyStopping` gives back the weights of an earlier epoch when training has ended."""
    best = keras.callbacks.EarlyStopping("loss", restore_best_weights=True, mode="max", patience=9)
    lagging.fit(IMAGES, batch_size=16, epochs=3, verbose=0, shuffle=False, callbacks=[best])
    assert change_by_recalibration(lagging) < 0.2


def test_a_fit_that_does_not_train_leaves_everything(lagging):
    before = lagging.get_weights()
    lagging.fit(IMAGES, epochs=2, initial_epoch=2, verbose=0)
    for new, old in zip(lagging.get_weights(), before, strict=True):
        np.testing.assert_array_equal(new, old)


def test_another_loss_is_refused():
    with pytest.raises(ValueError, match="`loss` must be a lcma_tf.NegativeLogLikelihood.*'mse'"):
        tiny_flow(num_scales=1).compile("adam", loss="mse")


def test_the_loss_need_not_be_named():
    model = tiny_flow(num_scales=1)
    model.compile(FusedAdam(1e-3), jit_compile=False)
    assert isinstance(model.loss, NegativeLogLikelihood)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (IMAGES[:, :3], r"`images` must have shape \[N, 4, 4, 2\]; got \[64, 3, 4, 2\]"),
        (IMAGES / 255, "`images` must be uint8 pixels 0..255"),
        (None, r"`x` must be uint8 images \[N, H, W, C\].*; got 'NoneType'"),
        (5, "`x` must be uint8 images .*; got 'int'"),
        ([IMAGES], "`x` must be uint8 images .*; got 'list'"),
    ],
)
def test_what_is_no_such_images_is_refused_before_the_first_step(compiled, images, words):
    before = int(compiled.training_calls)
    with pytest.raises(ValueError, match=words):
        compiled.fit(images, verbose=0)
    assert int(compiled.training_calls) == before
