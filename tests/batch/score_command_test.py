"""`python -m lcma_tf.score`: the scores of a flow, bad files among the good, killed, refused."""

import csv
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

import commands
import scored_runs
from lcma_tf.batch.export_scorer import export_scorer
from lcma_tf.choices import SCORES
from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.experiment.calibrated import calibration_of, scored_flow
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.model import load
from lcma_tf.scores.scored_flow import ScoringGraph
from lcma_tf.serving.runtime.cpp_session import Code, CppSession, CppSessionError
from lcma_tf.serving.runtime.scoring_note import SCORING_FILE, ScoringNote
from saved_flows import save_flow

IMAGES = scored_runs.smooth_images(11)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of these images with three bad files between them."""
    folder = tmp_path_factory.mktemp("images")
    for index, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{index:02}.png")
    Image.fromarray(IMAGES[0].repeat(2, axis=0)).save(folder / "03_of_another_size.png")
    Image.fromarray(IMAGES[0][..., 0]).save(folder / "04_grey.png")
    (folder / "05_torn.png").write_bytes((folder / "05.png").read_bytes()[:-9])
    (folder / "06_empty.jpg").touch()
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture(scope="module")
def exported(scored_run, tmp_path_factory):
    """The folder of an export of that run; to be read only."""
    calibration, model = calibration_of(Workdir(scored_run)), load(scored_run)
    frozen = model.frozen()
    graph = ScoringGraph(frozen, model.factorization, calibration)
    folder = save_flow(frozen, tmp_path_factory.mktemp("export") / "1", scoring=graph)
    rate = calibration.false_alarm_rate
    ScoringNote(scored_runs.SHAPE, rate, calibration.anomaly_by, "low", 64).write(folder)
    return folder


def score(run, images, table, by="workdir", **flags):
    flags = {by: run, "input": images, "output": table, "batch_size": 4, **flags}
    return commands.call("lcma_tf.score", *commands.as_flags(**flags))


@pytest.fixture(scope="module")
def table(scored_run, folder, tmp_path_factory):
    """The table of that folder by the run, and how its command ended."""
    path = tmp_path_factory.mktemp("table") / "scores.csv"
    return path, score(scored_run, folder, path, top=2)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_scored_and_bad_files_say_why(scored_run, folder, table):
    path, ended = table
    assert ended.code == 3, ended.err
    assert ended.err.strip() == "error: 3 of 15 images have no score; the column error says why"
    assert "12 images scored, 3 not" in ended.out and "1 file was skipped by suffix" in ended.out
    rows = read(path)
    assert [*rows[0]] == ["name", *SCORES, "error"]
    assert [row["name"] for row in rows] == sorted(path.name for path in folder.glob("*.[pj]*"))
    bad = {row["name"]: row["error"] for row in rows if row["error"]}
    assert bad["03_of_another_size.png"] == "must be 8 x 8 pixels; it is 8 x 16"
    assert "cut short" in bad["05_torn.png"] and len(bad) == 3
    flow = scored_flow(Workdir(scored_run))
    good = [row for row in rows if row["name"][2:] == ".png"]
    for name, column in flow.scores(IMAGES).items():
        found = [row[name] for row in good]
        if name == "is_anomaly":
            assert found == [f"{value}" for value in column.numpy()]
        else:
            np.testing.assert_allclose(np.float32(found), column, rtol=1e-5, atol=1e-5)
    with Image.open(path.with_name("scores_top.png")) as picture:
        assert picture.format == "PNG"
    again = score(scored_run, folder, path)
    assert again.code == 3 and "complete already" in again.out
    other = score(scored_run, folder, path, false_alarm_rate=0.2)
    commands.assert_refused(other, "`output` another false_alarm_rate Delete it")


def test_all_scored_is_0_and_the_rate_is_asked(scored_run, tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES.repeat(2, axis=1).repeat(2, axis=2))
    flags = {"resize": "area", "false_alarm_rate": 0.45, "batch_invariant": True}
    ended = score(scored_run, f"npz:{tmp_path / 'a.npz'}", tmp_path / "scores.csv", **flags)
    assert ended.code == 0 and not ended.err
    flow = scored_flow(Workdir(scored_run), batch_invariant=True)
    expected = flow.scores(IMAGES, 0.45)
    rows = read(tmp_path / "scores.csv")
    for name, column in expected.items():
        found = [row[name] for row in rows]
        if name in ("log_prob", "bits_per_dim", "is_anomaly"):
            assert found == [str(value) for value in column.numpy()]
        else:  # What is made of them by vectors of a batch differs in the last digits.
            np.testing.assert_allclose(np.float32(found), column, rtol=1e-5)


def assert_same_table(path, expected):
    """The same rows, numbers up to their last digits."""
    rows, others = read(path), read(expected)
    assert [*rows[0]] == [*others[0]] and len(rows) == len(others)
    for name in rows[0]:
        found, wanted = ([row[name] for row in table] for table in (rows, others))
        if name in ("name", "error", "is_anomaly"):
            assert found == wanted
        else:
            scored = [[float(value) for value in column if value] for column in (found, wanted)]
            np.testing.assert_allclose(*scored, rtol=1e-5, atol=1e-6, err_msg=name)


def test_with_one_thread_an_operation_the_table_is_the_same(scored_run, folder, table, tmp_path):
    output = tmp_path / "scores.csv"
    asked = [f"--workdir={scored_run}", f"--input={folder}", f"--output={output}"]
    ended = commands.run("lcma_tf.score", *asked, "--intra_op_threads=1")
    assert ended.code == 3, ended.err
    assert_same_table(output, table[0])


def test_an_export_scores_as_its_run_does(exported, folder, table, tmp_path, monkeypatch):
    monkeypatch.setattr("lcma_tf.model.flow_model.FlowModel.__init__", None)  # None is built.
    output = tmp_path / "scores.csv"
    ended = score(exported, folder, output, by="saved_model", top=2)
    assert ended.code == 3 and "12 images scored, 3 not" in ended.out, ended.err
    assert_same_table(output, table[0])
    with Image.open(tmp_path / "scores_top.png") as picture:
        assert picture.format == "PNG"
    again = score(exported, folder, output, by="saved_model")
    assert again.code == 3 and "complete already" in again.out
    mixed = score(exported, folder, table[0], by="saved_model")
    commands.assert_refused(mixed, "`output` another flow, saved_model. Delete it")
    other = shutil.copytree(exported, tmp_path / "other")
    (other / SCORING_FILE).write_text((other / SCORING_FILE).read_text() + "\n")
    refused = score(other, folder, output, by="saved_model")
    commands.assert_refused(refused, "`output` another saved_model. Delete it")


def test_of_a_refused_batch_the_other_images_are_scored(exported, table, monkeypatch):
    run = CppSession.run

    def refuses_black(session, signature, inputs):
        if not inputs["images"].any(axis=(1, 2, 3)).all():
            raise CppSessionError("images: an image has no finite score", Code.INVALID_ARGUMENT)
        return run(session, signature, inputs)

    monkeypatch.setattr(CppSession, "run", refuses_black)
    images = IMAGES[:3].copy()
    images[1] = 0
    scorer = export_scorer(exported, false_alarm_rate=0.2)
    rows = [*scorer.rows(images, [""] * 3)]
    assert rows[1] == (None, "its scores are not finite")
    for index in (0, 2):
        (alone,) = scorer.rows(images[index : index + 1], [""])
        assert rows[index] == alone and not alone[1]
    at_usual_rate = float(read(table[0])[0]["anomaly_score"])
    assert scorer.scores(images[:1])["anomaly_score"] > at_usual_rate  # Alarmed sooner.


def test_what_is_no_export_with_a_calibration_is_refused(exported, folder, tmp_path):
    def refused(saved_model, words, **flags):
        ended = score(saved_model, folder, tmp_path / "scores.csv", by="saved_model", **flags)
        commands.assert_refused(ended, words)

    refused(tmp_path, "`saved_model` the folder of an exported version saved_model.pb")
    without = shutil.copytree(exported, tmp_path / "1")
    (without / SCORING_FILE).write_text("{}")
    refused(without, f"`saved_model` {SCORING_FILE} that its export wrote")
    (without / SCORING_FILE).unlink()
    refused(without, "`saved_model` exported from a calibrated run export it anew")
    refused(exported, "`batch_size` at most 64 got 65", batch_size=65)
    refused(exported, "batch_invariant left out with saved_model", batch_invariant=True)
    refused(exported, "Exactly one of (workdir, saved_model)", workdir=tmp_path)
    assert not (tmp_path / "scores.csv").exists()


def test_killed_it_goes_on_to_the_same_file(scored_run, tmp_path):
    np.savez(tmp_path / "a.npz", images=scored_runs.smooth_images(500))
    flags = {"workdir": scored_run, "input": f"npz:{tmp_path / 'a.npz'}", "batch_size": 2}
    partial = tmp_path / "killed.csv.partial"

    def has_begun():
        return partial.exists() and partial.stat().st_size > 1500

    killed = {**flags, "output": tmp_path / "killed.csv"}
    process = commands.Started("lcma_tf.score", *commands.as_flags(**killed))
    process.wait_until(has_begun)
    process.kill()
    assert process.end().code == -signal.SIGKILL
    assert partial.exists() and not (tmp_path / "killed.csv").exists()
    rows_there = partial.read_bytes().count(b"\n") - 2
    assert 0 < rows_there < 500
    assert commands.call("lcma_tf.score", *commands.as_flags(**killed)).code == 0
    unbroken = {**flags, "output": tmp_path / "unbroken.csv"}
    assert commands.call("lcma_tf.score", *commands.as_flags(**unbroken)).code == 0
    for end in ("", ".json"):
        one, other = (tmp_path / f"{name}.csv{end}" for name in ("killed", "unbroken"))
        assert one.read_bytes() == other.read_bytes()
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"output": "{}/scores.txt"}, "`output` .csv or .parquet"),
        ({"output": "{}/none/scores.csv"}, "`output` in an existing folder"),
        ({"input": "{}/none"}, "`input` an existing folder, or a pattern"),
        ({"input": "npz:{}/none.npz"}, "`input` an existing file"),
        ({"input": "{}"}, "`input` must hold an image"),
        ({"false_alarm_rate": 0}, "false_alarm_rate between 0 and 0.5"),
        ({"false_alarm_rate": 0.5}, "false_alarm_rate between 0 and 0.5"),
        ({"batch_size": 0}, "batch_size at least 1"),
        ({"top": 101}, "top 0 to 100"),
        ({"top": -1}, "top 0 to 100"),
        ({"resize": "program"}, "resize should be one of"),
        ({"workdir": "{}"}, "`workdir` config.json"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(flags, words, scored_run, folder, tmp_path):
    values = {name: str(value).format(tmp_path) for name, value in flags.items()}
    ended = score(scored_run, folder, tmp_path / "scores.csv", **values)
    commands.assert_refused(ended, words)
    assert not os.listdir(tmp_path)


def test_a_flow_without_its_calibration_is_refused(scored_run, folder, tmp_path):
    run = scored_runs.make_scored_run(tmp_path / "run", random_weights=2)
    calibration = Workdir(run).calibration
    calibration.write_bytes(Workdir(scored_run).calibration.read_bytes())
    other = score(run, folder, tmp_path / "scores.csv")
    commands.assert_refused(other, "`calibration` of another flow calibrate anew")
    calibration.unlink()
    none = score(run, folder, tmp_path / "scores.csv")
    commands.assert_refused(none, "`workdir` calibration.npz lcma_tf.calibrate")
    assert os.listdir(tmp_path) == ["run"]


def test_a_run_of_real_numbers_is_refused(folder, tmp_path):
    flow = FlowConfig(image_shape=(8, 8, 3), real_valued=True)
    Workdir(tmp_path / "run").claim(flow, TrainConfig(dataset="npz:none.npz"))
    ended = score(tmp_path / "run", folder, tmp_path / "scores.csv")
    commands.assert_refused(ended, "`workdir` a run of 8-bit images")


def test_what_it_writes_among_its_input_is_no_input(scored_run, folder, tmp_path, monkeypatch):
    inside = shutil.copytree(folder, tmp_path / "inside")
    output = inside / "scores.csv"

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lcma_tf.batch.score.Job._write", stop)
        assert score(scored_run, f"{inside}/*", output).code == 130
    assert (inside / "scores.csv.partial").exists()
    ended = score(scored_run, f"{inside}/*", output, top=2)
    assert ended.code == 3 and (inside / "scores_top.png").exists(), ended.err
    names = [row["name"] for row in read(output)]
    assert names == sorted(path.name for path in folder.iterdir())
    for name in (f"{inside}/*", f"{inside}/**"):
        again = score(scored_run, name, output, top=2)
        assert again.code == 3 and "complete already" in again.out, again.err
