"""Commands and calibrations: a run ends with one, it is made anew, its scores are evaluated."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import commands
import lcma_tf
from lcma_tf.choices import SCORES
from lcma_tf.experiment import calibrated
from lcma_tf.experiment.calibrated import calibrate_run, scored_flow
from lcma_tf.experiment.score_evaluation import short_names
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.extras import MissingExtraError
from lcma_tf.scores.calibration import fingerprint_of
from testing import random_images

SHAPE = (8, 8, 3)
TINY = {"split_rule": "realnvp", "train_steps": 3, "steps_per_epoch": 3, "num_scales": 1}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, draw):
    """A folder of data sets and workdirs; `run` is one that had images enough to be calibrated."""
    folder = tmp_path_factory.mktemp("scores")
    train, validation, test = (draw(n, n, SHAPE) for n in (24, 150, 60))
    commands.write_npz(folder / "own.npz", train=train, validation=validation, test=test)
    commands.write_npz(folder / "noise.npz", test=random_images(40, SHAPE))
    commands.write_npz(folder / "more.npz", test=draw(200, 1, SHAPE))
    commands.write_npz(folder / "empty.npz", test=np.zeros((0, *SHAPE), np.uint8))
    commands.write_npz(folder / "small.npz", test=random_images(3, (4, 4, 3)))
    commands.write_npz(folder / "real.npz", test=np.float32(random_images(3, SHAPE)))
    (folder / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 200, 0)).save(folder / "pictures" / f"{number}.png")
    flags = commands.as_flags(
        **{**commands.TINY, **TINY}, dataset=f"npz:{folder / 'own.npz'}", workdir=folder / "run"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lcma_tf.experiment.pictures.draw_run", lambda *_: None)  # Half of the time.
        ended = commands.call("lcma_tf.train", *flags)
    assert ended.code == 0, ended.err
    (folder / "said.txt").write_text(ended.out)
    for name in ("bare", "foreign"):
        shutil.copytree(folder / "run", folder / name)
    (folder / "bare" / "calibration.npz").unlink()
    calibration = lcma_tf.Calibration.load(folder / "run" / "calibration.npz")
    foreign = dataclasses.replace(calibration, fingerprint="of another flow")
    foreign.save(folder / "foreign" / "calibration.npz")
    return folder


def test_a_run_ends_with_a_calibration(inputs):
    said = (inputs / "said.txt").read_text()
    assert "[lcma_tf] calibrate the scores with the validation images\n" in said
    assert "% expected if each image is by itself\n" in said
    assert "no calibration" not in said
    scored = scored_flow(Workdir(inputs / "run"))
    model = lcma_tf.load(inputs / "run")
    assert scored.calibration.fingerprint == fingerprint_of(model)
    assert (scored.calibration.num_images, scored.calibration.seed) == (150, 0)


def test_a_run_with_too_few_images_says_so(finished):
    told = "no calibration, without which there is no anomaly score: `images` must be at least 100"
    assert told in finished.out and "; got 8." in finished.out
    assert not Workdir(finished.workdir).calibration.exists()


def test_a_run_is_calibrated_once(inputs, tmp_path, draw, capsys):
    workdir = Workdir(shutil.copytree(inputs / "run", tmp_path / "run"))
    model, before = lcma_tf.load(workdir.path), commands.files(workdir.path)
    calibrate_run(model, draw(120), workdir)
    assert commands.files(workdir.path) == before and capsys.readouterr().out == ""
    # Of the weights of before it leaves the rate and the score that were chosen.
    chosen = lcma_tf.Calibration.load(inputs / "foreign" / "calibration.npz")
    chosen = dataclasses.replace(chosen, false_alarm_rate=0.2, anomaly_by="complexity")
    chosen.save(workdir.calibration)
    calibrate_run(model, draw(120, 1, SHAPE), workdir)
    again = lcma_tf.Calibration.load(workdir.calibration)
    assert (again.false_alarm_rate, again.anomaly_by) == (0.2, "complexity")
    assert again.fingerprint == fingerprint_of(model)
    told = "(false_alarm_rate 0.2, anomaly_by complexity)"
    assert f"calibrate the scores with the validation images {told}" in capsys.readouterr().out
    # That of other weights goes, whether or not another can be made.
    shutil.copy(inputs / "foreign" / "calibration.npz", workdir.calibration)
    calibrate_run(model, draw(9), workdir)
    assert not workdir.calibration.exists() and "no calibration" in capsys.readouterr().out


def test_without_scikit_learn_a_run_still_ends(inputs, tmp_path, draw, capsys, monkeypatch):
    def refuse(*_):
        raise MissingExtraError("`sklearn` must be installed to calibrate; it is not.")

    monkeypatch.setattr(calibrated, "calibrate", refuse)
    workdir = Workdir(tmp_path)
    calibrate_run(lcma_tf.load(inputs / "run"), draw(120), workdir)
    assert "no calibration, without which" in capsys.readouterr().out
    assert not workdir.calibration.exists()


def test_it_is_calibrated_anew(inputs, tmp_path):
    workdir = Workdir(shutil.copytree(inputs / "run", tmp_path / "run"))
    argv = [f"--workdir={workdir.path}", "--batch_size=50", "--intra_op_threads=1"]
    ended = commands.call("lcma_tf.calibrate", *argv, "--false_alarm_rate=0.1")
    assert ended.code == 0, ended.err
    assert "intra_op_threads=1 comes too late" in ended.out  # As TensorFlow runs here already.
    assert "These are the images of the run." in ended.out and "calibration.npz\n" in ended.out
    again = lcma_tf.Calibration.load(workdir.calibration)
    before = lcma_tf.Calibration.load(inputs / "run" / "calibration.npz")
    assert (again.num_images, again.false_alarm_rate) == (150, 0.1)
    values, expected = (c.tails["log_prob"].values for c in (again, before))
    np.testing.assert_allclose(values, expected, rtol=1e-5)

    # The validation images, of the run's own set by its name or any other.
    for other in ("own", "set"):
        shutil.copy(inputs / "own.npz", inputs / "set.npz")
        name = f"--dataset=npz:{inputs / other}.npz"
        ended = commands.call("lcma_tf.calibrate", *argv, name)
        assert ended.code == 0 and f"/{other}.npz, validation, 150 images." in ended.out, ended.err

    others = [f"--dataset=npz:{inputs / 'more.npz'}", "--anomaly_by=complexity", "--seed=4"]
    ended = commands.call("lcma_tf.calibrate", *argv, *others)
    assert ended.code == 0, ended.err
    assert "These are not the images that the run was begun with" in ended.out
    again = lcma_tf.Calibration.load(workdir.calibration)
    assert (again.num_images, again.anomaly_by, again.seed) == (200, "complexity", 4)
    assert scored_flow(workdir).calibration.anomaly_by == "complexity"


def test_related_images_are_told_by_an_array_or_by_folders(inputs, tmp_path):
    workdir = Workdir(shutil.copytree(inputs / "run", tmp_path / "run"))
    groups = np.arange(150) % 15
    np.savez(tmp_path / "groups.npz", photo=groups)
    folder = tmp_path / "scenes"
    with np.load(inputs / "own.npz") as archive:
        images = archive["validation"]
    for number, image in enumerate(images):
        (folder / f"{groups[number]:02}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{groups[number]:02}" / f"{number:03}.png")
    found = []
    for flags in (
        {"groups": f"npz:{tmp_path}/groups.npz:photo"},
        {"dataset": f"image_folder:{folder}", "groups": "folders"},
        {},
    ):
        argv = commands.as_flags(workdir=workdir.path, **flags)
        ended = commands.call("lcma_tf.calibrate", *argv)
        assert ended.code == 0, ended.err
        assert "[lcma_tf] false alarms: 1.00% asked for, " in ended.out
        tails = lcma_tf.Calibration.load(workdir.calibration).tails
        found.append(tails["density_of_states"].values)
    # The same images in another order, with the same ones left out together.
    np.testing.assert_allclose(found[0], found[1], rtol=0.05)
    assert not np.array_equal(found[0], found[2])


BAD_CALIBRATION = [
    ({"groups": "photo"}, "`groups` must be folders, or npz:FILE:ARRAY with a number"),
    ({"groups": "npz:{}/own.npz"}, "`groups` must be folders, or npz:FILE:ARRAY with a number"),
    ({"groups": "npz:{}/own.npz:photo"}, "`groups` must be folders, or 'photo.npy'"),
    ({"groups": "npz:{}/none.npz:photo"}, "`groups` must be folders, or No such file"),
    ({"groups": "npz:{}/own.npz:test"}, "`groups` must be integers or strings of shape [150]"),
    ({"groups": "folders"}, "`groups` must be an array where images are no files 'folders'"),
    ({"false_alarm_rate": 0.5}, "`false_alarm_rate` must be between 0 and 0.5; got 0.5."),
    ({"false_alarm_rate": 0.5 - 1e-12}, "`false_alarm_rate` must be between 0 and 0.5; got 0.49"),
    ({"false_alarm_rate": 1e-300}, "`false_alarm_rate` must be between 0 and 0.5; got 1e-300."),
    ({"false_alarm_rate": "nan"}, "`false_alarm_rate` must be between 0 and 0.5; got nan."),
    ({"batch_size": 0}, "`batch_size` must be at least 1; got 0."),
    ({"anomaly_by": "percentile"}, "--anomaly_by=percentile: one of <log_prob|bits_per_dim|"),
    # Before there is a run.
    ({"groups": "photo", "workdir": "{}/none"}, "`groups` must be folders, or npz:FILE:ARRAY"),
    ({"split": "test"}, "`images` must be at least 100 got 60."),
    ({"split": "all"}, "--split=all: value should be one of <train|validation|test>"),
    ({"dataset": "npz:{}/small.npz"}, "`dataset` must be one of images of shape (8, 8, 3)"),
    ({"dataset": "npz:{}/real.npz"}, "`test` must be a uint8 array"),
    ({"dataset": ""}, "`dataset` must be the name of a data set"),
    ({"workdir": "{}/none"}, "`workdir` must hold a run; there is no /none'."),
]


@pytest.mark.parametrize(("changes", "words"), BAD_CALIBRATION)
def test_a_calibration_is_refused(inputs, changes, words):
    before = commands.files(inputs)
    values = {"workdir": "{}/run", **changes}
    ended = commands.call("lcma_tf.calibrate", *commands.flags_in(inputs, values))
    commands.assert_refused(ended, words)
    assert commands.files(inputs) == before


def test_scores_are_evaluated(inputs, tmp_path):
    values = {
        "workdir": "{}/run",
        "anomalous": "npz:{0}/noise.npz,image_folder:{0}/pictures".replace("{0}", str(inputs)),
        "batch_size": 25,
        "output": f"{tmp_path}/found.json",
        "intra_op_threads": 1,
    }
    ended = commands.call("lcma_tf.evaluate_scores", *commands.flags_in(inputs, values))
    assert ended.code == 0, ended.err
    assert "intra_op_threads=1 comes too late" in ended.out
    assert "These are the images of the run." in ended.out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "found.json",
        "found.md",
        "found.png",
    ]
    with Image.open(tmp_path / "found.png") as picture:
        assert picture.format == "PNG"
    table = (tmp_path / "found.md").read_text()
    found = json.loads((tmp_path / "found.json").read_text())
    assert table in ended.out and "| `density_of_states` | " in table

    assert found["normal"]["num_images"] == 60 and found["calibration"]["num_images"] == 150
    assert [alarm["asked"] for alarm in found["normal"]["false_alarms"]] == [0.01, 0.05]
    assert all(0 <= alarm["share"] <= 0.3 for alarm in found["normal"]["false_alarms"])
    assert 0 < found["normal"]["percentile_distance"] < 0.3
    assert list(found["anomalous"]) == ["noise", "pictures"]
    assert [entry["num_images"] for entry in found["anomalous"].values()] == [40, 3]
    assert found["anomalous"]["pictures"]["split"] == "all"
    noise = found["anomalous"]["noise"]
    assert noise["share_is_anomaly"] == 1 and list(noise["scores"]) == list(SCORES)
    # Oriented: noise is less likely, and needs more bits.
    for name in ("log_prob", "bits_per_dim", "density_of_states", "anomaly_score"):
        assert noise["scores"][name]["auroc"]["value"] > 0.95, name
    for figures in noise["scores"].values():
        for interval in figures.values():
            assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1

    # The same images by another name, of all sets once more: the same figures, beside the run.
    values = {**values, "normal": "npz:{}/own.npz", "workdir": "{}/run"}
    del values["output"]
    ended = commands.call("lcma_tf.evaluate_scores", *commands.flags_in(inputs, values))
    assert ended.code == 0, ended.err
    again = json.loads((inputs / "run" / "score_evaluation.json").read_text())
    assert again["anomalous"] == found["anomalous"]


BAD_EVALUATION = [
    ({"workdir": "{}/none"}, "`workdir` must hold a run; there is no /none'."),
    ({"workdir": "{}/bare"}, "`workdir` must have a calibration.npz lcma_tf.calibrate"),
    ({"workdir": "{}/foreign"}, "`calibration` must be that of this flow; got one of another flow"),
    ({"anomalous": "npz:{}/empty.npz"}, "`test` must hold at least one image"),
    (
        {"anomalous": "npz:{0}/noise.npz,npz:{0}/small.npz"},
        "`anomalous` must be one of images of shape (8, 8, 3); /small.npz of (4, 4, 3)'.",
    ),
    ({"normal": "npz:{}/small.npz"}, "`normal` must be one of images /small.npz of (4, 4, 3)'."),
    ({"anomalous": "npz:{}/real.npz"}, "`test` must be a uint8 array"),
    ({"anomalous": "npz:{}/gone.npz"}, "gone.npz"),
    ({"anomalous": ""}, "`anomalous` must be different data sets, at least one; got ''."),
    ({"anomalous": "npz:a.npz,npz:a.npz"}, "`anomalous` must be different data sets"),
    ({"normal": "npz:{}/empty.npz"}, "`test` must hold at least one image"),
    ({"normal": ""}, "`normal` must be the name of a data set"),
    ({"batch_size": 0}, "`batch_size` must be at least 1; got 0."),
    ({"output": "{}/found.txt"}, "`output` must be a file that ends in .json"),
    ({"output": "{}/none/a.json"}, "`output` must be a file in an existing folder"),
    ({"output": "/proc/a.json"}, "`output` must be a file that can be written /proc/a.json"),
]


@pytest.mark.parametrize(("changes", "words"), BAD_EVALUATION)
def test_an_evaluation_is_refused_before_it_begins(inputs, changes, words):
    before = commands.files(inputs)
    values = {"workdir": "{}/run", "anomalous": "npz:{}/noise.npz", **changes}
    ended = commands.call("lcma_tf.evaluate_scores", *commands.flags_in(inputs, values))
    commands.assert_refused(ended, words)
    assert commands.files(inputs) == before and "image" not in ended.out


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        (["npz:a/b.npz", "image_folder:c/d/", "fashion_mnist"], ["b", "d", "fashion_mnist"]),
        (["npz:a/b.npz", "npz:c/b.npz"], ["npz:a/b.npz", "npz:c/b.npz"]),
        (["npz:a/normal.npz"], ["npz:a/normal.npz"]),
        (["npz:b.npz"], ["npz:b"]),
    ],
)
def test_sets_are_called_by_what_tells_them_apart(datasets, expected):
    assert short_names(datasets) == expected
