"""Devices are divided before TensorFlow is in use; machine choices that do not fit are refused."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import commands
import lcma_tf
from lcma_tf.distribute.strategy import RuntimeConfig, make_strategy
from lcma_tf.training.callbacks import TrainingProgress

TWICE_TWO_DEVICES = """
from lcma_tf.distribute.strategy import make_strategy
for _ in range(2):  # As a check, and again for the training.
    print(make_strategy(2, 8).num_replicas_in_sync)
"""


def test_two_logical_cpus_make_a_strategy():
    done = subprocess.run(
        [sys.executable, "-c", TWICE_TWO_DEVICES], cwd=commands.ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["2", "2"], done.stderr


ONE_THREAD = """
import tensorflow as tf
from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
Runtime.open(RuntimeConfig(intra_op_threads=1), 8)
tf.zeros([1])  # TensorFlow is in use now.
Runtime.open(RuntimeConfig(intra_op_threads=1), 8)
Runtime.open(RuntimeConfig(intra_op_threads=2), 8)
print(tf.config.threading.get_intra_op_parallelism_threads())
"""


def test_threads_of_an_operation_are_set_once():
    done = subprocess.run(
        [sys.executable, "-c", ONE_THREAD], cwd=commands.ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == [
        "[lcma_tf] TensorFlow is in use already: intra_op_threads=2 comes too late, and is left out",
        "1",
    ], done.stderr


@pytest.mark.parametrize("value", [0, 2.5, "2", True])
@pytest.mark.parametrize("name", ["num_devices", "steps_per_execution", "intra_op_threads"])
def test_a_number_below_one_is_refused(name, value):
    with pytest.raises(
        lcma_tf.ConfigError, match=f"`{name}` must be an integer >= 1; got {value!r}"
    ):
        RuntimeConfig(**{name: value})


def test_truths_of_a_runtime_are_true_or_false():
    assert RuntimeConfig(jit_compile=np.True_, num_devices=np.int64(1)) == RuntimeConfig(1, 1, True)
    for name in ("jit_compile", "rematerialize"):
        with pytest.raises(lcma_tf.ConfigError, match=f"`{name}` must be True or False; got 'yes'"):
            RuntimeConfig(**{name: "yes"})


def test_training_asks_for_devices_before_it_loads_data(tmp_path, monkeypatch):
    done = []

    def load(**options):
        done.append("data")
        raise lcma_tf.ConfigError("That is far enough.")

    def make_strategy(*arguments):
        done.append(arguments)
        return tf.distribute.get_strategy()

    monkeypatch.setattr("lcma_tf.distribute.strategy.make_strategy", make_strategy)
    monkeypatch.setattr("lcma_tf.data.load", load)
    flags = commands.as_flags(workdir=tmp_path / "new", num_devices=2, batch_size=6)
    assert commands.call("lcma_tf.train", *flags).err == "error: That is far enough."
    assert done == [(2, 6), "data"]


@pytest.mark.parametrize(
    ("num_devices", "batch_size", "message"),
    [
        (2, 8, "`num_devices` must be 1 where several workers train on their CPUs; got 2."),
        (None, 7, "`batch_size` must be divisible by the number of devices, 2; got 7."),
    ],
)
def test_devices_of_several_workers_are_checked_first(
    num_devices, batch_size, message, monkeypatch
):
    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: [])
    with pytest.raises(lcma_tf.ConfigError) as refused:
        make_strategy(num_devices, batch_size)
    assert str(refused.value) == message


@pytest.mark.parametrize("num_replicas", [1, 4])
def test_the_bar_shows_the_speed_of_all_and_of_each(num_replicas, monkeypatch):
    shown = {}
    monkeypatch.setattr(
        keras.callbacks.ProgbarLogger,
        "on_train_batch_end",
        lambda self, b, logs: shown.update(logs),
    )
    monkeypatch.setattr("time.perf_counter", iter([10.0, 12.0]).__next__)
    progress = TrainingProgress(batch_size=8, num_replicas=num_replicas)
    for batch in (0, 5):
        progress.on_train_batch_end(batch, {"bits_per_dim": 4.0})
    assert shown.pop("bits/dim") == 4.0
    assert shown == (
        {"images/s": 20.0} | ({"images/s per replica": 5.0} if num_replicas > 1 else {})
    )


@pytest.mark.parametrize(
    ("steps_per_execution", "steps"),
    [(1, {}), (5, {}), (10, {"steps_per_epoch": 100}), (30, {"train_steps": 30})],
)
def test_steps_per_execution_may_divide_what_is_trained(steps_per_execution, steps):
    config = lcma_tf.TrainConfig(**{"train_steps": 60, "steps_per_epoch": 30, **steps})
    RuntimeConfig(steps_per_execution=steps_per_execution).check_fits(config)


@pytest.mark.parametrize(
    ("steps_per_execution", "steps"),
    [(4, {}), (60, {}), (5, {"train_steps": 61}), (5, {"pretrain_steps": 7})],
)
def test_steps_per_execution_must_divide_what_is_trained(steps_per_execution, steps):
    config = lcma_tf.TrainConfig(**{"train_steps": 60, "steps_per_epoch": 30, **steps})
    with pytest.raises(lcma_tf.ConfigError, match="`steps_per_execution` must divide .*; got"):
        RuntimeConfig(steps_per_execution=steps_per_execution).check_fits(config)
