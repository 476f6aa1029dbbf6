"""Senseless input ends before training: one sentence with flag, rule and value; the disk as it was."""

import dataclasses

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.experiment.workdir import Workdir

# Flags that replace those of a good run -> what the message must hold. {} is the folder of inputs.
BAD_TRAINING = [
    ({"num_scales": 5}, "`num_scales` divisible by 2**(num_scales - 1) num_scales=5 (8, 8, 3)"),
    ({"num_scales": 4}, "`num_scales` at least two pixels num_scales=4 (8, 8, 3)"),
    ({"num_scales": 3, "dataset": "npz:{}/six.npz"}, "`num_scales` divisible (6, 8, 3)"),
    ({"num_scales": 0}, "`num_scales` must be an integer >= 1; got 0."),
    ({"num_scales": -7}, "`num_scales` must be an integer >= 1; got -7."),
    ({"dataset": "npz:{}/float.npz"}, "float.npz `train` must be a uint8 array got float32"),
    (
        {"dataset": "npz:{}/four.npz"},
        "four.npz `train` must have 1 or 3 channels got [24, 8, 8, 4]",
    ),
    ({"dataset": "npz:{}/other.npz"}, "other.npz `test` must have the image shape of `train`"),
    ({"dataset": "npz:{}/missing.npz"}, "missing.npz must hold the arrays missing validation"),
    ({"dataset": "npz:{}/none.npz"}, "none.npz must name an existing .npz file"),
    ({"dataset": "npz:{}/torn.npz"}, "torn.npz must be a whole .npz archive"),
    ({"dataset": "npz:{}/pickled.npz"}, "pickled.npz `train` must be a plain uint8 array pickled"),
    ({"dataset": "image_folder:{}/none"}, "image_folder: must name an existing folder none"),
    ({"dataset": "image_folder:"}, "`image_folder:PATH` must name an existing folder; got no path"),
    ({"dataset": "ciphar10"}, "`ciphar10` must be photo_patches, npz:PATH cifar10"),
    ({"data_dir": "{}/nowhere"}, "`data_dir` must be an existing folder; nowhere"),
    ({"dataset": ""}, "`dataset` must be the name of a data set; got ''."),
    ({"factorization_path": "{}/small_factorization.npz"}, "factorization (8, 8, 3) (4, 4, 3)"),
    ({"factorization_path": "{}/deep_factorization.npz"}, "factorization num_scales=2 got 2 masks"),
    ({"factorization_path": "{}/torn_factorization.npz"}, "torn_factorization.npz readable npz"),
    ({"factorization_path": "{}/none.npz"}, "factorization none.npz must be a readable npz file"),
    ({"train_stepz": 9}, "Unknown command line flag 'train_stepz'"),
    ({"split_rule": "lmca"}, "--split_rule=lmca: value should be one of <lcma|"),
    ({"flow": "glow9"}, "--flow=glow9: value should be one of <realnvp"),
    ({"batch_size": 0}, "`batch_size` must be an integer >= 1; got 0."),
    ({"batch_size": "8.5"}, "--batch_size=8.5"),
    ({"batch_size": 25}, "`batch_size` must be at most the number of images, 24; got 25"),
    ({"num_devices": 3}, "`num_devices` must divide batch_size=8; got 3."),
    ({"num_devices": 0}, "`num_devices` must be an integer >= 1; got 0."),
    ({"train_steps": -1}, "`train_steps` must be an integer >= 1; got -1."),
    ({"pretrain_steps": 0}, "`pretrain_steps` must be an integer >= 1; got 0."),
    ({"steps_per_epoch": 0}, "`steps_per_epoch` must be an integer >= 1; got 0."),
    ({"steps_per_execution": 0}, "`steps_per_execution` must be an integer >= 1; got 0."),
    ({"steps_per_execution": 3}, "`steps_per_execution` must divide steps_per_epoch=4; got 3."),
    ({"learning_rate": "nan"}, "`learning_rate` must be a finite number > 0; got nan."),
    ({"learning_rate": "-1e-3"}, "`learning_rate` must be a finite number > 0; got -0.001."),
    ({"clip_norm": "inf"}, "`clip_norm` must be a finite number > 0; got inf."),
    ({"alpha": 0.5}, "`alpha` must be in (0, 0.5); got 0.5."),
    ({"warmup_steps": 22}, "`warmup_steps` must be less than train_steps=22; got 22."),
    ({"warmup_steps": 16}, "`warmup_steps` must be less than pretrain_steps=16; got 16."),
    ({"seed": -1}, "`seed` must be an integer >= 0; got -1."),
    ({"seed": 2**40}, f"`seed` must be at most {2**30}; got {2**40}."),
    ({"image_size": 16}, "`image_size` 16 got [8, 8, 3]"),
    ({"workdir": "{}/file"}, "`workdir` must be a folder; got the file /file"),
    ({"workdir": "{}/file/below"}, "`workdir` must be a folder that can be made /file/below"),
    ({"workdir": "{}/foreign"}, "`workdir` must be new, empty or a run's /foreign letter.txt"),
    ({"workdir": ""}, "`workdir` must be the path of a folder; got ''."),
    ({"workdir": "/proc/run"}, "`workdir` must be a folder that can be made /proc/run"),
    ({"initialize_from": "{}/foreign"}, "`initialize_from` must be a finished run /foreign"),
    ({"flagfile": "{}/none.flags"}, "Unable to open flagfile none.flags"),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder of files that are bad in one way each, and of one good data set."""
    folder = tmp_path_factory.mktemp("inputs")
    good = commands.splits()
    commands.write_npz(folder / "good.npz")
    commands.write_npz(folder / "six.npz", **commands.splits((6, 8, 3)))
    commands.write_npz(folder / "four.npz", **commands.splits((8, 8, 4)))
    commands.write_npz(folder / "float.npz", **{**good, "train": good["train"].astype(np.float32)})
    commands.write_npz(folder / "other.npz", **{**good, "test": good["test"][:, :4]})
    commands.write_npz(folder / "pickled.npz", **{**good, "train": np.array([{}], dtype=object)})
    commands.write_npz(folder / "missing.npz", train=good["train"], test=good["test"])
    for name, size, scales in (("small", 4, 2), ("good", 8, 2), ("deep", 8, 3)):
        lcma_tf.decide_factorization(
            "realnvp", image_shape=(size, size, 3), num_scales=scales
        ).save(folder / f"{name}_factorization.npz")
    for whole, torn in (
        ("good.npz", "torn.npz"),
        ("small_factorization.npz", "torn_factorization.npz"),
    ):
        content = (folder / whole).read_bytes()
        (folder / torn).write_bytes(content[: len(content) // 2])
    (folder / "file").write_text("Not a folder.")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "letter.txt").write_text("Dear reader,")
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_without_training(monkeypatch, tmp_path):
    def start_training(*args):
        raise AssertionError("Training has begun.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lcma_tf.training.phase.TrainingPhase.run", start_training)


@pytest.mark.parametrize(("changes", "words"), BAD_TRAINING)
def test_training_is_refused(inputs, tmp_path, changes, words):
    before = commands.files(inputs)
    good = {**commands.TINY, "dataset": "npz:{}/good.npz", "workdir": tmp_path / "workdir"}
    ended = commands.call("lcma_tf.train", *commands.flags_in(inputs, {**good, **changes}))
    commands.assert_refused(ended, words)
    assert list(tmp_path.iterdir()) == [] and commands.files(inputs) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workdir": "{}/foreign"}, "`workdir` must be new, empty or a run's /foreign letter.txt"),
        ({"workdir": "/proc/run"}, "`workdir` must be a folder that can be made /proc/run"),
        (
            {"workdir": "{}/begun", "base_dim": 4},
            "`workdir` same config base_dim=2 there and 4 now",
        ),
        ({"factorization_path": "{}/torn_factorization.npz"}, "readable npz"),
        ({"factorization_path": "{}/deep_factorization.npz"}, "num_scales=2 got 2 masks"),
        (
            {"factorization_path": "{}/good_factorization.npz", "split_rule": "lcma"},
            "`split_rule` must be left out, or 'realnvp' factorization_path; got 'lcma'.",
        ),
        ({"initialize_from": "{}/foreign"}, "`initialize_from` must be a finished run /foreign"),
        ({"num_scales": 1}, "`num_scales` must be at least 2 with split_rule='lcma' got 1."),
        (
            {"exit_prior": "conditional", "split_rule": "none"},
            "`exit_prior` must be 'standard' where nothing exits, split_rule='none' got 'conditional'.",
        ),
        (
            {"flow": "glow", "coupling_masks": "aligned"},
            "`coupling_masks` must be left at 'checkerboard' flow='glow' got 'aligned'.",
        ),
    ],
)
def test_it_is_refused_before_the_images_are_read(inputs, tmp_path, monkeypatch, changes, words):
    def read(*args, **options):
        raise AssertionError("Images were read.")

    config = lcma_tf.TrainConfig(f"npz:{inputs}/good.npz", **of_tiny(lcma_tf.TrainConfig))
    flow = lcma_tf.FlowConfig(commands.SHAPE, **of_tiny(lcma_tf.FlowConfig))
    Workdir(inputs / "begun").claim(flow, config)
    monkeypatch.setattr("lcma_tf.data.load", read)
    good = {**commands.TINY, "dataset": "npz:{}/good.npz", "workdir": tmp_path / "workdir"}
    ended = commands.call("lcma_tf.train", *commands.flags_in(inputs, {**good, **changes}))
    commands.assert_refused(ended, words)
    assert list(tmp_path.iterdir()) == []


def of_tiny(config):
    names = {field.name for field in dataclasses.fields(config)}
    return {name: value for name, value in commands.TINY.items() if name in names}


@pytest.mark.parametrize(
    ("name", "there", "now"),
    [("learning_rate", 0.001, 0.5), ("base_dim", 2, 4), ("split_rule", "'lcma'", "'random'")],
)
def test_a_workdir_of_another_config_is_refused(inputs, tmp_path, name, there, now):
    good = {**commands.TINY, "dataset": "npz:{}/good.npz", "workdir": tmp_path / "workdir"}
    with pytest.raises(AssertionError, match="Training has begun"):
        commands.call("lcma_tf.train", *commands.flags_in(inputs, good))
    before = commands.files(tmp_path)
    assert set(before) == {"workdir/config.json", "workdir/lock"}
    changed = {**good, name: str(now).strip("'")}
    ended = commands.call("lcma_tf.train", *commands.flags_in(inputs, changed))
    commands.assert_refused(ended, "`workdir` must be new or of the same config")
    assert f"/workdir' has {name}={there} there and {now} now." in ended.err
    assert commands.files(tmp_path) == before


@pytest.mark.parametrize("main", ["train", "evaluate", "sample"])
def test_arguments_that_are_no_flags_are_refused(main, inputs):
    ended = commands.call(f"lcma_tf.{main}", f"--workdir={inputs}/new", "workdir", "again")
    commands.assert_refused(ended, "arguments must be flags; got workdir again")


@pytest.mark.parametrize("main", ["train", "evaluate", "sample"])
def test_the_workdir_must_be_given(main):
    commands.assert_refused(commands.call(f"lcma_tf.{main}"), "--workdir must have a value")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": "nan"}, "`learning_rate` must be a finite number > 0; got nan."),
        ({"train_stepz": 9}, "Unknown command line flag 'train_stepz'. Did you mean: train_steps"),
        ({"dataset": "npz:{}/torn.npz"}, "torn.npz must be a whole .npz archive"),
    ],
)
def test_a_process_of_its_own_ends_the_same_way(inputs, tmp_path, changes, words):
    good = {**commands.TINY, "dataset": "npz:{}/good.npz", "workdir": tmp_path / "workdir"}
    ended = commands.run("lcma_tf.train", *commands.flags_in(inputs, {**good, **changes}))
    assert ended.code in (1, 2) and "Traceback" not in ended.err and ended.out == ""
    for word in words.split():
        assert word in ended.err
    assert list(tmp_path.iterdir()) == []
