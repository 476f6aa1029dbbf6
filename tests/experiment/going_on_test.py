"""Going on from a run: more steps, other bookkeeping, another run's weights; and what is refused."""

import json
import shutil

import h5py
import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.experiment.going_on import in_the_way, kept
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.training.history import read_history

RUN = {**lcma_tf.FlowConfig().to_dict(), **lcma_tf.TrainConfig(train_steps=20).to_dict()}


@pytest.mark.parametrize(
    ("now", "is_decided", "found"),
    [
        ({"steps_per_epoch": 7}, False, []),
        ({"train_steps": 30, "pretrain_steps": 30}, False, []),
        ({"train_steps": 30, "pretrain_steps": 30}, True, []),
        ({"train_steps": 30}, True, []),
        ({"train_steps": 30, "pretrain_steps": 25}, True, ["pretrain_steps=20 there and 25 now"]),
        ({"train_steps": 10}, True, ["train_steps=20 there and 10 now (it can only grow)"]),
        ({"pretrain_steps": 10}, False, ["pretrain_steps=20 there and 10 now (it can only grow)"]),
        ({"seed": 3, "flip": True}, True, ["flip=False there and True now", "seed=0 there and"]),
    ],
)
def test_what_is_in_the_way(now, is_decided, found):
    told = in_the_way(RUN, {**RUN, **now}, is_decided)
    assert len(told) == len(found)
    assert all(ours.startswith(words) for ours, words in zip(told, found, strict=True)), told


def test_a_learning_rate_that_decays_has_its_end():
    there = {**RUN, "learning_rate_schedule": "cosine"}
    (told,) = in_the_way(there, {**there, "train_steps": 30}, is_decided=True)
    assert told.endswith("(it is what the cosine of the learning rate ends at)")


def test_what_a_run_keeps_of_itself():
    now = {**RUN, "train_steps": 30, "pretrain_steps": 30, "steps_per_epoch": 3, "dataset": "moved"}
    whole = {**RUN, "train_steps": 30, "steps_per_epoch": 3}
    assert kept(RUN, now, is_decided=True) == whole
    assert kept(RUN, now, is_decided=False) == {**whole, "pretrain_steps": 30}


@pytest.fixture(scope="module")
def gone_on(finished, tmp_path_factory):
    """A finished run, as an earlier version left it, that was trained on in epochs of another size."""
    workdir = Workdir(tmp_path_factory.mktemp("gone_on") / "run")
    shutil.copytree(finished.workdir, workdir.path)
    for phase in ("pretrain", "train"):
        files = workdir.files(phase)
        (files.directory / "finished.json").unlink()
        lines = [line.split(",") for line in files.history.read_text().splitlines()]
        left_out = lines[0].index("step")
        kept_columns = [",".join(line[:left_out] + line[left_out + 1 :]) for line in lines]
        files.history.write_text("\n".join(kept_columns) + "\n")
    before = commands.files(workdir.path)
    ended = commands.call(
        "lcma_tf.train",
        *finished.flags,
        "--train_steps=30",
        "--steps_per_epoch=3",
        f"--workdir={workdir.path}",
    )
    assert ended.code == 0, ended.err
    return workdir, before


def steps(workdir, phase):
    return [row["step"] for row in read_history(workdir.files(phase).history)]


def test_a_finished_run_is_trained_on(gone_on):
    workdir, before = gone_on
    assert steps(workdir, "train") == [4, 8, 12, 16, 20, 22, 25, 28, 30]
    assert steps(workdir, "pretrain") == [4, 8, 12, 16]
    metrics = workdir.read_metrics()
    assert (metrics["steps"], metrics["pretrain_steps"]) == (30, 16)
    after = commands.files(workdir.path)
    again = {name for name in before if after[name] != before[name]}
    assert {"model.keras", "metrics.json", "training.png", "samples.png"} <= again
    assert not again & {"contributions.npz", "factorization.npz", "pretrain/model.keras"}
    config = workdir.read_configs()[1]
    assert (config.train_steps, config.steps_per_epoch, config.pretrain_steps) == (30, 3, 16)


def weights(workdir):
    found = {}
    with h5py.File(workdir.files("train").backup / "latest.weights.h5") as file:
        file.visititems(
            lambda name, item: found.update(
                {name: np.asarray(item)} if hasattr(item, "shape") else {}
            )
        )
    return found


def test_it_ends_where_an_unbroken_one_does(gone_on, finished, tmp_path):
    workdir, _ = gone_on
    unbroken = Workdir(tmp_path / "unbroken")
    flags = ["--train_steps=30", f"--factorization_path={workdir.factorization}"]
    ended = commands.call("lcma_tf.train", *finished.flags, *flags, f"--workdir={unbroken.path}")
    assert ended.code == 0, ended.err
    ours, theirs = weights(workdir), weights(unbroken)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-2, atol=1e-3, err_msg=name)


def test_the_same_command_again_does_nothing(gone_on, finished):
    workdir, _ = gone_on
    before = commands.files(workdir.path)
    flags = [*finished.flags, "--train_steps=30", "--steps_per_epoch=3"]
    assert commands.call("lcma_tf.train", *flags, f"--workdir={workdir.path}").code == 0
    assert commands.files(workdir.path) == before


@pytest.mark.parametrize(
    "changes", [{"train_steps": 20}, {"batch_size": 4}, {"pretrain_steps": 20}]
)
def test_the_way_out_is_told(finished, changes):
    before = commands.files(finished.workdir)
    flags = [*finished.flags, *commands.as_flags(**changes), f"--workdir={finished.workdir}"]
    ended = commands.call("lcma_tf.train", *flags)
    (name, value) = changes.popitem()
    words = (
        f"{name}={commands.TINY[name]} there and {value} now Give the run's own `initialize_from`"
    )
    commands.assert_refused(ended, words)
    assert commands.files(finished.workdir) == before


def test_the_steps_that_are_left_are_whole_calls(finished, tmp_path):
    shutil.copytree(finished.workdir, tmp_path / "run")
    flags = ["--train_steps=25", "--steps_per_epoch=5", "--steps_per_execution=5"]
    flags += ["--pretrain_steps=25", f"--workdir={tmp_path / 'run'}"]
    ended = commands.call("lcma_tf.train", *finished.flags, *flags)
    commands.assert_refused(ended, "`steps_per_execution` must divide the steps that are left, 3;")
    assert lcma_tf.load(tmp_path / "run")  # What was there is.


def test_a_run_begins_with_the_weights_of_another(finished, tmp_path):
    workdir = Workdir(tmp_path / "run")
    dataset = commands.write_npz(tmp_path / "others.npz", **commands.splits(seed=5))
    changes = {"dataset": dataset, "split_rule": "realnvp", "learning_rate": 1e-9, "train_steps": 2}
    flags = [*finished.flags, *commands.as_flags(**changes, initialize_from=finished.workdir)]
    ended = commands.call("lcma_tf.train", *flags, f"--workdir={workdir.path}")
    assert ended.code == 0, ended.err
    assert "begin with the weights of another run" in ended.out
    ours, theirs = lcma_tf.load(workdir.path), lcma_tf.load(finished.workdir)
    assert (ours.factorization.rule, theirs.factorization.rule) == ("realnvp", "lcma")
    for one, other in zip(ours.trainable_variables, theirs.trainable_variables, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert int(ours.training_calls) == 2
    recorded = json.loads(workdir.config.read_text())["train"]["initialize_from"]
    assert recorded == str(finished.workdir)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_dim": 3}, "`initialize_from` must be a flow with base_dim=3, with base_dim=2"),
        ({"num_scales": 3}, "`initialize_from` with num_scales=3, with num_scales=2"),
        (
            {"coupling": "spline"},
            "`initialize_from` with coupling='spline', with coupling='affine'",
        ),
        ({"split_rule": "none"}, "`initialize_from` must be the run of a flow without splits"),
        ({"channel_rotation": "klt"}, "`initialize_from` run of a flow with its channels turned"),
        ({"whitening": "causal"}, "`initialize_from` run of a flow with its images whitened"),
        ({"coupling_masks": "aligned"}, "`initialize_from` must be None coupling_masks='aligned'"),
        ({"initialize_from": "nowhere"}, "`initialize_from` must be a finished run, nowhere"),
    ],
)
def test_another_kind_of_flow_is_no_beginning(finished, tmp_path, changes, words):
    values = {"initialize_from": finished.workdir, "workdir": tmp_path / "run", **changes}
    ended = commands.call("lcma_tf.train", *finished.flags, *commands.as_flags(**values))
    commands.assert_refused(ended, words)
    assert list(tmp_path.iterdir()) == []
