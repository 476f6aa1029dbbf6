"""The same command in two processes of one machine gives the same bits, with deterministic kernels.

Without `TF_DETERMINISTIC_OPS`, or on another machine, sums may be taken in another order, and training
carries the difference on: `interruption_test.py` compares such runs, within a tolerance.
"""

import json
import os
from unittest import mock

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.experiment.workdir import Workdir

# Two epochs, the second not full, and every use of the seed: masks, weights, order, flips, noise.
FLAGS = {**commands.TINY, "split_rule": "random", "train_steps": 6, "seed": 5, "flip": True}


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("determinism")
    flags = commands.as_flags(dataset=commands.write_npz(folder / "images.npz"), **FLAGS)
    workdirs = [Workdir(folder / name) for name in ("first", "second")]
    with mock.patch.dict(os.environ, {"TF_DETERMINISTIC_OPS": "1"}):
        for workdir in workdirs:
            ended = commands.run("lcma_tf.train", *flags, f"--workdir={workdir.path}")
            assert ended.code == 0, ended.err
    return workdirs


def test_the_losses_are_the_same(two_runs):
    first, second = ((w.phase("train") / "history.csv").read_bytes() for w in two_runs)
    assert first == second and first.count(b"\n") == 3


def test_the_weights_and_masks_are_the_same(two_runs):
    first, second = (lcma_tf.load(workdir.path) for workdir in two_runs)
    assert first.factorization == second.factorization
    for ours, theirs in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_the_figures_are_the_same(two_runs):
    first, second = (json.loads(workdir.metrics.read_text()) for workdir in two_runs)
    first.pop("scoring_images_per_second"), second.pop("scoring_images_per_second")
    assert first == second


@pytest.mark.parametrize("name", ["samples", "reconstruction", "interpolation", "factorization"])
def test_the_pictures_are_the_same(two_runs, name):
    first, second = ((workdir.path / f"{name}.png").read_bytes() for workdir in two_runs)
    assert first == second
