"""The images of a run are the same at every start, wherever they lie and wherever it is started."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf import data
from lcma_tf.data.fingerprint import differences, fingerprint_of_images
from lcma_tf.experiment.workdir import Workdir, WorkdirError
from testing import random_images

FLOW = lcma_tf.FlowConfig(commands.SHAPE, num_scales=2)
IMAGES = random_images(3, (2, 2, 3))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with `a.npz` in it."""
    monkeypatch.chdir(tmp_path)
    commands.write_npz("a.npz")
    return tmp_path


@pytest.fixture
def untrained(monkeypatch):
    """Runs end where their training would begin."""

    def start_training(*args):
        raise AssertionError("Training has begun.")

    monkeypatch.setattr("lcma_tf.training.phase.TrainingPhase.run", start_training)


def test_a_fingerprint_tells_images_apart():
    ours = fingerprint_of_images(IMAGES)
    assert ours == fingerprint_of_images(np.asfortranarray(IMAGES)) == json.loads(json.dumps(ours))
    other = IMAGES.copy()
    other[2, 1, 1, 2] ^= 1
    others = [
        other,
        IMAGES[::-1],
        IMAGES[:2],
        IMAGES.astype(np.float32),
        IMAGES.reshape(3, 4, 1, 3),
    ]
    digests = {json.dumps(fingerprint_of_images(images)) for images in [IMAGES, *others]}
    assert len(digests) == 6
    told = [differences({"train": fingerprint_of_images(o)}, {"train": ours}) for o in others[1:3]]
    assert told == [
        ["train: other pixels in 3 images of 2x2x3 uint8"],
        ["train: 2 images of 2x2x3 uint8 there and 3 images of 2x2x3 uint8 now"],
    ]


def test_a_fingerprint_is_that_of_every_version():
    """Pinned: another digest of the same images would lock users out of their runs."""
    images = np.resize(np.arange(251, dtype=np.uint8), (40, 256, 1024, 3))  # Two blocks.
    digests = [fingerprint_of_images(images[:count])["digest"] for count in (1, 40)]
    assert digests == ["065dd8a4c08cbfe4c7fe626a2ec2a674", "8d07cc5dd41aafceda924be08c7c27a1"]


def test_other_images_are_refused_and_the_same_ones_are_not(folder, untrained):
    command = commands.as_flags(dataset="npz:a.npz", workdir="run", **commands.TINY)
    for _ in range(2):
        with pytest.raises(AssertionError, match="Training has begun"):
            commands.call("lcma_tf.train", *command)
    before = commands.files("run")
    splits = commands.splits()
    splits["train"][3, 2, 1, 0] ^= 1
    for changed, words in (
        (splits, "train: other pixels in 24 images of 8x8x3 uint8."),
        (
            commands.splits(validation=splits["validation"][:3]),
            "validation: 8 images of 8x8x3 uint8 there and 3 images of 8x8x3 uint8 now.",
        ),
    ):
        commands.write_npz("a.npz", **changed)
        ended = commands.call("lcma_tf.train", *command)
        commands.assert_refused(ended, "`dataset` must hold the images that the run was begun with")
        assert words in ended.err
    assert commands.files("run") == before


def test_a_study_is_held_to_its_images_too(folder, untrained):
    command = commands.as_flags(dataset="npz:a.npz", workdir="study", seeds="0", **commands.TINY)
    with pytest.raises(AssertionError, match="Training has begun"):
        commands.call("lcma_tf.ablation", *command)
    commands.write_npz("a.npz", **commands.splits(seed=1))
    ended = commands.call("lcma_tf.ablation", *command)
    commands.assert_refused(ended, "`dataset` must hold the images that the run was begun with")


def test_a_run_of_an_earlier_version_is_given_the_fingerprint(folder):
    workdir, images = Workdir("run"), data.load("npz:a.npz")
    train = lcma_tf.TrainConfig(dataset="npz:a.npz")
    workdir.claim(FLOW, train)
    config = json.loads(workdir.config.read_text())
    config["train"]["dataset"] = "npz:a.npz"  # As it was typed.
    workdir.config.write_text(json.dumps(config))
    assert workdir.read_fingerprint() is None
    workdir.check(FLOW, train, images.fingerprint)
    workdir.claim(FLOW, train, images.fingerprint)
    assert workdir.read_fingerprint() == images.fingerprint
    assert workdir.read_configs()[1].dataset == "npz:a.npz"
    other = dict(images.fingerprint, test=fingerprint_of_images(IMAGES))
    with pytest.raises(WorkdirError, match="was begun with others: test: 8 images of 8x8x3"):
        workdir.check(FLOW, train, other)


def test_the_same_place_by_another_path_is_the_same_run(folder, monkeypatch):
    train = lcma_tf.TrainConfig(
        dataset="npz:a.npz", data_dir="d", factorization_path="sub/../f.npz", split_rule="random"
    )
    workdir = Workdir(folder / "run")
    workdir.claim(FLOW, train)
    stored = workdir.read_configs()[1]
    assert stored.dataset == f"npz:{folder}/a.npz" and stored.data_dir == f"{folder}/d"
    assert stored.factorization_path == f"{folder}/f.npz"
    workdir.check(FLOW, train)
    workdir.check(FLOW, stored)
    monkeypatch.setenv("HOME", str(folder))
    workdir.check(FLOW, dataclasses.replace(train, dataset="npz:~/a.npz"))
    (folder / "other").mkdir()
    monkeypatch.chdir(folder / "other")
    workdir.check(FLOW, stored)
    with pytest.raises(WorkdirError, match=f"dataset='npz:{folder}/a.npz' there and .*other/a.npz"):
        workdir.check(FLOW, train)


def test_data_may_move_where_the_images_tell_who_they_are(folder):
    workdir, images = Workdir("run"), data.load("npz:a.npz")
    train = lcma_tf.TrainConfig(dataset="npz:a.npz")
    workdir.claim(FLOW, train, images.fingerprint)
    moved = dataclasses.replace(train, dataset="npz:/elsewhere/b.npz")
    workdir.check(FLOW, moved, images.fingerprint)
    with pytest.raises(WorkdirError, match="dataset="):
        workdir.check(FLOW, moved)
    for name in ("image_folder:a.npz", "cifar10"):
        with pytest.raises(WorkdirError, match="dataset='npz:' there and"):
            workdir.check(FLOW, dataclasses.replace(train, dataset=name), images.fingerprint)


@pytest.mark.parametrize(
    "name", ["photo_patches", "cifar10", "downsampled_imagenet/32x32", "my_set:1.0.0", "npz:"]
)
def test_other_names_are_left_alone(name):
    assert lcma_tf.TrainConfig(dataset=name).with_absolute_paths().dataset == name


def test_hosts_may_keep_the_data_in_different_places(folder):
    from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
    from lcma_tf.experiment.run import Run

    runtime = Runtime.open(RuntimeConfig(), 8)

    def description(train):
        images = data.load(train.dataset)
        return Run(FLOW, train, images, Workdir("run"), runtime).description()

    commands.write_npz("b.npz")
    described = []
    for name in ("a.npz", "b.npz"):
        train = lcma_tf.TrainConfig(dataset=f"npz:{name}").with_absolute_paths()
        described.append(description(train))
    assert described[0] == described[1] and described[0]["dataset"] == "npz:"
    commands.write_npz("b.npz", **commands.splits(seed=2))
    other = description(train)
    assert {name for name in other if other[name] != described[0][name]} == {
        f"images of {split}" for split in ("train", "validation", "test")
    }


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished.workdir, tmp_path / "run")
    return Workdir(tmp_path / "run")


def edit_config(workdir, dataset, keeps_fingerprint):
    config = json.loads(workdir.config.read_text())
    config["train"]["dataset"] = dataset
    if not keeps_fingerprint:
        del config["images"]
    workdir.config.write_text(json.dumps(config))


def test_a_run_is_evaluated_from_any_folder(finished, folder):
    ended = commands.call("lcma_tf.evaluate", f"--workdir={finished.workdir}")
    assert ended.code == 0, ended.err
    assert "These are the images of the run." in ended.out


def test_evaluation_says_when_the_images_are_others(copied, folder):
    """An equally named file in the folder where it is started, and a run that kept a relative path."""
    edit_config(copied, "npz:a.npz", keeps_fingerprint=True)
    commands.write_npz("a.npz", **commands.splits(test=commands.splits(seed=4)["test"]))
    ended = commands.call("lcma_tf.evaluate", f"--workdir={copied.path}")
    assert ended.code == 0, ended.err
    assert "These are not the images that the run was begun with: test: other pixels" in ended.out
    drawn = commands.as_flags(workdir=copied.path, kind="interpolation", num_samples=1, steps=2)
    ended = commands.call("lcma_tf.sample", *drawn)
    assert ended.code == 0 and "warning: These are not the images" in ended.err
    ended = commands.call("lcma_tf.sample", *drawn, "--dataset=npz:none.npz")
    commands.assert_refused(ended, f"must name an existing .npz file; {folder}/none.npz")


def test_a_relative_path_of_an_earlier_version_counts_from_the_folder(copied, folder):
    edit_config(copied, "npz:none.npz", keeps_fingerprint=False)
    ended = commands.call("lcma_tf.evaluate", f"--workdir={copied.path}")
    commands.assert_refused(ended, f"{folder}/none.npz (an earlier version kept a relative path")
    assert "data that have moved are named by `dataset`" in ended.err
    ended = commands.call("lcma_tf.evaluate", f"--workdir={copied.path}", "--dataset=npz:a.npz")
    assert ended.code == 0 and "is not known: it kept no fingerprint" in ended.out


def test_tilde_is_the_home_folder_in_every_flag(folder, monkeypatch, untrained):
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "home").mkdir()
    shutil.move("a.npz", "home/a.npz")
    flags = commands.as_flags(dataset="npz:~/a.npz", workdir="~/runs/a", **commands.TINY)
    with pytest.raises(AssertionError, match="Training has begun"):
        commands.call("lcma_tf.train", *flags)
    assert os.listdir(folder) == ["home"] and (folder / "home/runs/a/config.json").exists()
    for name in ("workdir", "data_dir", "factorization_path", "dataset"):
        value = "npz:~no_such_user/a" if name == "dataset" else "~no_such_user/a"
        ended = commands.call("lcma_tf.train", *flags, f"--{name}={value}")
        commands.assert_refused(ended, "must name the home folder of a user; ~no_such_user/a")
    for main, name in (("evaluate", "workdir"), ("sample", "workdir"), ("sample", "output")):
        ended = commands.call(f"lcma_tf.{main}", "--workdir=~/none", f"--{name}=~no_such_user/a")
        commands.assert_refused(ended, "must name the home folder of a user; ~no_such_user/a")
    ended = commands.call(
        "export.export_saved_model", "--workdir=w", "--export_dir=~no_such_user/a"
    )
    commands.assert_refused(ended, "must name the home folder of a user; ~no_such_user/a")
    commands.assert_refused(
        commands.call("lcma_tf.sample", "--workdir=~/none"),
        "`workdir` must hold a run; there is no /home/none",
    )
    with pytest.raises(FileNotFoundError, match="finished run"):
        lcma_tf.load("~/runs/a")
    assert os.listdir(folder) == ["home"]
