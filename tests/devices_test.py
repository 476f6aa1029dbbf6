"""Devices are divided before TensorFlow is in use, and machine choices that do not fit are refused."""

import subprocess
import sys

import pytest

import commands
import lcma_tf
from lcma_tf.devices import RuntimeConfig

TWICE_TWO_DEVICES = """
from lcma_tf.devices import make_strategy
for _ in range(2):  # As a check, and again for the training.
    print(make_strategy(2, 8).num_replicas_in_sync)
"""


def test_two_logical_cpus_make_a_strategy():
    done = subprocess.run(
        [sys.executable, "-c", TWICE_TWO_DEVICES], cwd=commands.ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["2", "2"], done.stderr


def test_training_asks_for_devices_before_it_loads_data(tmp_path, monkeypatch):
    done = []

    def load(*args):
        done.append("data")
        raise lcma_tf.ConfigError("That is far enough.")

    monkeypatch.setattr("lcma_tf.devices.make_strategy", lambda *args: done.append(args))
    monkeypatch.setattr("lcma_tf.data.load", load)
    flags = commands.as_flags(workdir=tmp_path / "new", num_devices=2, batch_size=6)
    assert commands.call("lcma_tf.train", *flags).err == "error: That is far enough."
    assert done == [(2, 6), "data"]


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
