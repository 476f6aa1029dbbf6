"""A run that leaves the finite numbers stops at that step, names the layer, and spoils nothing."""

import math
import re

import h5py
import numpy as np
import pytest
import tensorflow as tf

import commands
from lcma_tf import NegativeLogLikelihood
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training.backup import optimizer_step
from lcma_tf.training.callbacks import TrainingProgress
from lcma_tf.training.history import read_history
from lcma_tf.training.non_finite import NonFiniteError, StopAtNonFinite
from testing import random_images, tiny_flow

IMAGES = random_images(64, (4, 4, 2))
# Where it is put, and what has to be said: flow layer and network.
PLACES = {
    "first": (1, "layer_1_checkerboard_0"),
    "middle": (1, "layer_1_channel_0"),
    "second layer": (2, "layer_2_checkerboard_1"),
}
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())


class Flow:
    """A compiled flow, traced once for all tests, with a switch for a backward pass that is not finite.

    Four steps a call: the hardest case, as the steps after the first bad one are taken in any case.
    """

    def __init__(self):
        self.model = tiny_flow()
        optimizer = FusedAdam(global_clipnorm=100.0)
        self.model.compile(
            optimizer, loss=NegativeLogLikelihood(), steps_per_execution=4, jit_compile=False
        )
        optimizer.build(self.model.trainable_variables)
        self._bad = tf.Variable([-1, 0], dtype=tf.int64)  # Index of the network, first step.
        for index, (_, name) in enumerate(PLACES.values()):
            self._switch(self.network(name), index)
        self._state = [np.array(v) for v in self._variables()]

    def _variables(self):
        return [*self.model.weights, *self.model.optimizer.variables]

    def _switch(self, network, index):
        forward = network._parameters

        def backward(upstream):
            step = tf.cast(self.model.optimizer.iterations, tf.int64) + 1
            is_bad = tf.logical_and(self._bad[0] == index, step >= self._bad[1])
            return upstream * tf.where(is_bad, math.nan, 1.0)

        identity = tf.custom_gradient(lambda output: (tf.identity(output), backward))
        object.__setattr__(network, "_parameters", lambda output: forward(identity(output)))

    def network(self, name):
        (network,) = (n for n in self.model.networks if n.name == name)
        return network

    def reset(self):
        for variable, value in zip(self._variables(), self._state, strict=True):
            variable.assign(value)
        self._bad.assign([-1, 0])
        self.model.optimizer._non_finite.assign([0, 0])

    def spoil_gradient(self, name, step):
        self._bad.assign([[place[1] for place in PLACES.values()].index(name), step])

    def fit(self):
        """What the run ends with."""
        callbacks = [StopAtNonFinite(self.model.part_names, is_backed_up=True)]
        options = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0}
        with pytest.raises(NonFiniteError) as caught:
            self.model.fit(IMAGES, callbacks=callbacks, **options)
        return str(caught.value)

    def spoiled(self):
        """The networks with a weight that is not finite."""
        weights = self.model.trainable_variables
        return {v.path.split("/")[0] for v in weights if not np.isfinite(v).all()}


@pytest.fixture(scope="module")
def traced():
    return Flow()


@pytest.fixture
def flow(traced):
    traced.reset()
    return traced


@every_place
def test_a_weight_that_is_nan(flow, place):
    layer, name = place
    flow.network(name).scale.assign(math.nan)
    message = flow.fit()
    assert f"density of flow layer {layer} became nan at step 1, first in {name}. Try" in message
    assert message.endswith("no checkpoint was saved before.")
    # It has not spread: the gradient of that step, all of it NaN, was not taken.
    assert flow.spoiled() == {name}


@every_place
def test_a_gradient_that_is_nan_though_the_density_is_finite(flow, place):
    _, name = place
    flow.spoil_gradient(name, step=11)
    message = flow.fit()
    assert f"The gradient was not finite at step 11, first in {name}. Try" in message
    assert message.endswith("the checkpoint of step 8 is kept.")
    assert optimizer_step(flow.model) == 12 and flow.spoiled() == set()


def test_a_moment_that_only_inference_reads_is_found_before_anything_is_saved(flow):
    # Training takes the moments of its batches, and goes on as if nothing were.
    name = "layer_1_checkerboard_0_moments"
    flow.network(name).tf_variables[1].assign([math.inf, 1.0])
    assert f"A weight or a moment of {name} was not finite after step 8. Try" in flow.fit()


def test_a_gradient_that_only_overflows_in_its_norm():
    optimizer = FusedAdam(global_clipnorm=1.0)
    small, large = (tf.Variable(np.zeros(3, np.float32)) for _ in range(2))
    gradients = [tf.fill([3], 1.0), tf.fill([3], 1e19)]
    optimizer.apply_gradients(zip(gradients, (small, large), strict=True))
    assert optimizer.first_non_finite() is None
    gradients[1] *= 1.3  # Half of its square, 2.5e38, is a float32 yet.
    optimizer.apply_gradients(zip(gradients, (small, large), strict=True))
    step, variable = optimizer.first_non_finite()
    assert step == 2 and variable is large
    assert all(np.isfinite(v).all() for v in (small, large, *optimizer.variables))


class Optimizer:
    iterations = 12


class Model:
    optimizer = Optimizer()
    steps_per_execution = 1


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        # The first is the cause.
        (["pixel", "layer_1", "layer_2", "latent"], "the pixel transform"),
        (["layer_2", "latent"], "flow layer 2"),
        (["latent"], "the latent density"),
    ],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_part_from_the_data_on_is_named(bad, named, value):
    parts = ["latent", "layer_1", "layer_2", "pixel"]
    callback = StopAtNonFinite(parts)
    callback.set_model(Model())
    logs = {name: value if name in bad else 1.0 for name in parts}
    message = re.escape(f"The log-density of {named} became {value} at step 12. Try a lower")
    with pytest.raises(NonFiniteError, match=message):
        callback.on_train_batch_end(0, logs)
    with pytest.raises(NonFiniteError, match=f"of {named} .* at the validation after step 12"):
        callback.on_epoch_end(0, {f"val_{name}": value for name, value in logs.items()})
    callback.on_train_batch_end(0, dict.fromkeys(parts, 1.0))
    callback.on_epoch_end(0, dict.fromkeys(parts, 1.0))  # Without validation.


class SpoilAfter(TrainingProgress):
    """Turns a weight into NaN after a step of a run that the real command makes."""

    step, network = 10, "layer_2_checkerboard_1"

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if optimizer_step(self.model) == self.step:
            (network,) = (n for n in self.model.networks if n.name == self.network)
            network.scale.assign(math.nan)


def test_the_command_stops_with_one_sentence_and_goes_on_from_what_it_keeps(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path / "run")
    values = {**commands.TINY, "split_rule": "realnvp", "train_steps": 12}
    flags = commands.as_flags(dataset=commands.write_npz(tmp_path / "images.npz"), **values)
    argv = ("lcma_tf.train", *flags, f"--workdir={workdir.path}")
    with monkeypatch.context() as patch:
        patch.setattr("lcma_tf.training.phase.TrainingProgress", SpoilAfter)
        ended = commands.call(*argv)
    assert ended.code == 1
    commands.assert_refused(ended, "The log-density of flow layer 2 became nan at step 11")
    assert "first in layer_2_checkerboard_1. Try a lower --learning_rate" in ended.err
    assert ended.err.strip().endswith("in a new --workdir; the checkpoint of step 8 is kept.")
    assert len(read_history(workdir.phase("train") / "history.csv")) == 2
    assert not workdir.model.exists()
    for name in ("backup/latest.weights.h5", "best.weights.h5"):
        assert_finite(workdir.phase("train") / name)
    again = commands.call(*argv)
    assert again.code == 0, again.err
    assert "Epoch 2/3" not in again.out and "Epoch 3/3" in again.out


def assert_finite(path):
    arrays = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.append(item) if hasattr(item, "dtype") else None)
        assert len(arrays) > 50 and all(np.isfinite(array[()]).all() for array in arrays)
