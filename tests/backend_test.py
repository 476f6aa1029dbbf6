"""Another backend of Keras is refused in one sentence, before anything is made."""

import os
import subprocess
import sys

import keras
import pytest

import commands
import lcma_tf
from lcma_tf.backend import require_tensorflow


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_command_is_refused(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    name = commands.write_npz(tmp_path / "a.npz")
    flags = commands.as_flags(dataset=name, workdir=tmp_path / "run", **commands.TINY)
    ended = commands.run("lcma_tf.train", *flags)
    commands.assert_refused(ended, f"`KERAS_BACKEND` must be tensorflow; got '{backend}'.")
    assert os.listdir(tmp_path) == ["a.npz"]


def test_the_package_is_refused_where_it_needs_keras():
    program = """
import lcma_tf
assert "lcma" in lcma_tf.SPLIT_RULES  # Plain NumPy.
for name in ("FlowModel", "load", "bijectors", "NegativeLogLikelihood"):
    try:
        getattr(lcma_tf, name)
    except lcma_tf.ConfigError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=commands.ROOT,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == 4 * "`KERAS_BACKEND` must be tensorflow; got 'torch'.\n"


def test_keras_as_it_is_imported_counts(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # Too late for Keras to see it.
    require_tensorflow()
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(lcma_tf.ConfigError, match="must be tensorflow; got 'jax'"):
        lcma_tf.load("run")


@pytest.mark.parametrize("value", [None, ""])
def test_the_file_of_keras_does_not_count(value, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if value is not None:
        monkeypatch.setenv("KERAS_BACKEND", value)
    require_tensorflow()
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
