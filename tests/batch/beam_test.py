"""The pipeline of Apache Beam: its rows are those of `lcma_tf.score`. Without it: what is missing."""

import csv
import importlib.util

import numpy as np
import pytest
from PIL import Image

import commands
import scored_runs

HAS_BEAM = importlib.util.find_spec("apache_beam") is not None
needs_beam = pytest.mark.skipif(not HAS_BEAM, reason="needs the extra beam")
IMAGES = scored_runs.smooth_images(11)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of these images, one in a folder below, and two files that are none."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "below").mkdir()
    for index, image in enumerate(IMAGES):
        place = folder / "below" if index == 4 else folder
        Image.fromarray(image).save(place / f"{index:02}.png")
    (folder / "03_torn.png").write_bytes((folder / "03.png").read_bytes()[:-9])
    Image.fromarray(IMAGES[0].repeat(2, axis=0)).save(folder / "05_large.png")
    return folder


def score_beam(**flags):
    flags = {"batch_size": 4, "beam_flags": "--runner=BundleBasedDirectRunner", **flags}
    return commands.call("lcma_tf.score_beam", *commands.as_flags(**flags))


def rows_of(files):
    """By name, from CSV files."""
    rows = {}
    for path in files:
        with open(path, newline="") as file:
            rows |= {row["name"]: row for row in csv.DictReader(file)}
    return rows


def assert_equal_rows(found, expected):
    """The flow's numbers may differ in last digits, as batches may be other ones."""
    assert {*found} == {*expected}
    for name, row in expected.items():
        assert {*found[name]} == {*row}
        for column, text in row.items():
            if column in ("name", "error", "is_anomaly") or not text:
                assert found[name][column] == text, (name, column)
            else:
                np.testing.assert_allclose(
                    float(found[name][column]), float(text), rtol=1e-4, atol=1e-5
                )


@pytest.fixture(scope="module")
def expected(scored_run, folder, tmp_path_factory):
    table = tmp_path_factory.mktemp("expected") / "scores.csv"
    flags = {"workdir": scored_run, "input": folder, "output": table, "batch_size": 4}
    ended = commands.call("lcma_tf.score", *commands.as_flags(**flags))
    assert ended.code == 3, ended.err
    return rows_of([table])


@needs_beam
def test_its_rows_are_those_of_the_command(scored_run, folder, expected, tmp_path):
    flags = {"workdir": scored_run, "input": f"{folder}/**.png"}
    ended = score_beam(**flags, output=tmp_path / "scores.csv")
    assert ended.code == 3, ended.err
    assert "11 images scored, 2 not" in ended.out
    assert_equal_rows(rows_of(tmp_path.glob("scores-*.csv")), expected)


@needs_beam
def test_parquet_in_and_out(scored_run, folder, expected, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [name for name, row in expected.items() if "/" not in name]
    data = [(folder / name).read_bytes() for name in names]
    columns = {"image": [*data, None], "id": [*names, "nothing"]}
    pq.write_table(pa.table(columns), tmp_path / "images.parquet")
    source = f"parquet:{tmp_path}/images.parquet:image:id"
    ended = score_beam(workdir=scored_run, input=source, output=tmp_path / "out/scores.parquet")
    assert ended.code == 3, ended.err
    (path,) = (tmp_path / "out").glob("scores-*.parquet")
    found = {row["name"]: row for row in pq.read_table(path).to_pylist()}
    assert found.pop("nothing")["error"] == "must be the bytes of a file; it is null"
    assert {*found} == {*names}
    for name, row in found.items():
        if expected[name]["error"]:
            assert row["log_prob"] is None and row["error"] == expected[name]["error"]
        else:
            np.testing.assert_allclose(row["log_prob"], float(expected[name]["log_prob"]), 1e-5)
            assert str(row["is_anomaly"]) == expected[name]["is_anomaly"]


@needs_beam
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": "{}/*.nothing"}, "`input` must match a file"),
        ({"input": "parquet:{}/x.parquet:image"}, "parquet:PATTERN:COLUMN:NAMES"),
        ({"output": "{}/scores.txt"}, "`output` must end in .csv or .parquet"),
        ({"workdir": "{}"}, "`workdir` must hold a finished run"),
        ({"false_alarm_rate": 0.5}, "`false_alarm_rate` must be between 0 and 0.5"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
def test_refused_in_one_sentence(scored_run, folder, tmp_path, changes, words):
    flags = {"workdir": scored_run, "input": f"{folder}/*", "output": tmp_path / "scores.csv"}
    changes = {
        name: value.format(folder) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    commands.assert_refused(score_beam(**{**flags, **changes}), words)
    assert not [*tmp_path.iterdir()]


@pytest.mark.skipif(HAS_BEAM, reason="Beam is there")
def test_without_beam_it_says_how_to_get_it(scored_run, folder, tmp_path):
    ended = score_beam(workdir=scored_run, input=f"{folder}/*", output=tmp_path / "scores.csv")
    commands.assert_refused(ended, 'pip install "lcma_tf[beam]"')
