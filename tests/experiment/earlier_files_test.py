"""What earlier code saved loads today, with the numbers that it had.

`made_before_the_rooms.tar.xz` holds a finished run, a run stopped in its training and one in its
pretraining, a compiled flow and an export, all of the last code whose modules lay loose in `lcma_tf/`
(commit 8c3c3aa), and the bits/dim that this code gave the test images.
"""

import json
import pathlib
import shutil
import tarfile

import keras
import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.config import TrainConfig
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.model.bits_per_dim import NegativeLogLikelihood
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.serving.runtime.cpp_session import CppSession
from lcma_tf.training.backup import Resume
from lcma_tf.training.contributions import load_contributions
from lcma_tf.training.history import read_history
from lcma_tf.training.phase import make_optimizer

ARCHIVE = pathlib.Path(__file__).with_name("made_before_the_rooms.tar.xz")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "made_before"


@pytest.fixture(scope="module")
def images(made):
    with np.load(made / "images.npz") as splits:
        return dict(splits)


@pytest.fixture
def assert_scores(made, images):
    recorded = json.loads((made / "scores.json").read_text())

    def check(model, name):
        found = model.bits_per_dim(images["test"])
        np.testing.assert_allclose(found, recorded[name], rtol=1e-6)

    return check


def test_the_flow_of_a_finished_run(made, assert_scores):
    assert_scores(lcma_tf.load(made / "run"), "run")


def test_a_compiled_flow_with_its_loss_and_optimizer(made, images, assert_scores):
    model = keras.saving.load_model(made / "compiled.keras")
    assert_scores(model, "compiled")
    assert isinstance(model.loss, NegativeLogLikelihood)
    assert isinstance(model.optimizer, FusedAdam)
    assert int(model.optimizer.iterations) == 3
    model.fit(images["train"], batch_size=8, verbose=0)
    assert int(model.optimizer.iterations) == 6


def test_an_export(made, images):
    recorded = json.loads((made / "scores.json").read_text())["run"]
    with CppSession(made / "export") as session:
        found = session.run("log_prob", {"images": images["test"]})
    np.testing.assert_allclose(found["bits_per_dim"], recorded, rtol=1e-6)


def test_a_run_that_was_stopped_in_its_pretraining_goes_on(made, tmp_path):
    shutil.copytree(made / "pretraining", tmp_path / "run")
    workdir = Workdir(tmp_path / "run")
    flow, train = workdir.read_configs()
    assert (train.pretrain_steps, train.steps_per_epoch, flow.base_dim) == (8, 4, 2)
    names = ("pretrain_steps", "train_steps", "batch_size", "steps_per_epoch")
    values = {name: getattr(train, name) for name in names}
    names = ("num_scales", "base_dim", "num_residual_blocks")
    values |= {name: getattr(flow, name) for name in names}
    moved = {"dataset": f"npz:{made / 'images.npz'}", "workdir": workdir.path}
    ended = commands.call("lcma_tf.train", *commands.as_flags(**values, **moved))
    assert ended.code == 0, ended.err
    rows = read_history(workdir.files("pretrain").history)
    assert [(row["epoch"], row["step"]) for row in rows] == [(0, 4), (1, 8)]
    metrics = workdir.read_metrics()
    assert (metrics["steps"], metrics["pretrain_steps"]) == (9, 8)


def test_the_factorization_is_decided_by_the_contributions_beside_it(made):
    contributions = load_contributions(made / "run" / "contributions.npz")
    decided = lcma_tf.decide_factorization(
        "lcma", image_shape=(4, 4, 3), num_scales=2, contributions=contributions
    )
    assert lcma_tf.Factorization.load(made / "run" / "factorization.npz") == decided


def test_the_folder_of_a_run_is_that_of_the_same_command(made, images):
    flow = lcma_tf.load(made / "run").config
    written = json.loads((made / "run" / "config.json").read_text())
    data = lcma_tf.data.ImageData("images", **images)
    Workdir(made / "run").check(flow, TrainConfig(**written["train"]), data.fingerprint)
    score = np.mean(json.loads((made / "scores.json").read_text())["run"])
    assert Workdir(made / "run").read_metrics()["test_bits_per_dim"] == pytest.approx(score)


def test_the_backup_of_a_stopped_run(made, assert_scores):
    stopped = made / "stopped"
    written = TrainConfig(**json.loads((stopped / "config.json").read_text())["train"])
    factorization = lcma_tf.Factorization.load(stopped / "factorization.npz")
    model = lcma_tf.FlowModel(lcma_tf.load(made / "run").config, factorization)
    model.compile(make_optimizer(written, 9), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    assert Resume(stopped / "train" / "backup").restore(model) == 4
    assert int(model.optimizer.iterations) == 4
    assert [row["epoch"] for row in read_history(stopped / "train" / "history.csv")] == [0]
    assert_scores(model, "backup")
