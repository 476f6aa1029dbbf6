"""What an evaluation shows and keeps: the bar, `evaluation.json`, the table of all scores."""

import csv
import json
import re
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import commands
from lcma_tf.data import OneSplit
from lcma_tf.experiment.evaluation import bits_per_dim_of_split
from lcma_tf.experiment.evaluation_file import EvaluationFile, figures
from lcma_tf.experiment.result import print_result
from lcma_tf.experiment.workdir import Workdir, WorkdirError


def test_the_bar_ends_on_the_mean_over_all_images(capsys):
    def log_prob(batch, seed, num_draws):
        return -tf.cast(batch[:, 0, 0, 0], tf.float32)

    model = types.SimpleNamespace(log_prob=log_prob, config=types.SimpleNamespace(num_dimensions=1))
    images = np.array([1] * 8 + [6] * 2, np.uint8).reshape(10, 1, 1, 1)
    scores = bits_per_dim_of_split(model, images, batch_size=8, split="validation")
    told = capsys.readouterr().out
    assert "validation bits/dim: " in told
    shown = re.findall(r"bits/dim: ([\d.]+)", told)
    assert float(shown[-1]) == pytest.approx(scores.mean(), abs=1e-4)
    assert scores.mean() == pytest.approx(2 / np.log(2))


@pytest.fixture
def finished_one(tmp_path):
    """A workdir with a file in the place of a model."""
    workdir = Workdir(tmp_path)
    workdir.model.write_bytes(b"weights")
    return workdir


def test_evaluations_stand_beside_one_another(finished_one):
    image = np.zeros((2, 1, 1, 1), np.uint8)
    found = figures(OneSplit("a", "test", image), np.array([1.0, 2.0]), {"pixel": np.ones(2)})
    kept = EvaluationFile(finished_one)
    for seed in (0, 1, 0):
        kept.add({"seed": seed}, {**found, "count": seed})
    finished_one.model.write_bytes(b"more training")
    kept.add({"seed": 0}, found)
    entries = json.loads(kept.path.read_text())
    assert [entry["asked"]["seed"] for entry in entries] == [1, 0, 0]
    assert len({entry["asked"]["model"] for entry in entries}) == 2
    assert entries[0]["bits_per_dim"] == 1.5 and entries[0]["standard_error"] == 0.5
    assert entries[0]["parts"] == {"pixel": 1.0} and entries[0]["num_images"] == 2


@pytest.mark.parametrize("content", ["[", "{}", "[1]", '[{"bits_per_dim": 1}]'])
def test_what_is_no_list_of_evaluations_is_refused_and_kept(finished_one, content):
    path = finished_one.path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(WorkdirError, match=r"must have a readable evaluation\.json or none; got"):
        EvaluationFile(finished_one)
    assert path.read_text() == content


def test_a_folder_of_strangers_is_scored_whole_and_kept(finished, tmp_path):
    workdir = shutil.copytree(finished.workdir, tmp_path / "run")
    (workdir / "evaluation.json").unlink(missing_ok=True)  # Of who asked before.
    (tmp_path / "ten").mkdir()
    for number, pixels in enumerate(commands.splits()["train"][:10]):
        Image.fromarray(pixels).save(tmp_path / "ten" / f"{number}, odd.png")
    flags = {
        "workdir": workdir,
        "dataset": f"image_folder:{tmp_path / 'ten'}",
        "scores_csv": tmp_path / "scores.csv",
    }
    ended = commands.call("lcma_tf.evaluate", *commands.as_flags(**flags))
    assert ended.code == 0 and ended.err == "", ended
    (entry,) = json.loads((workdir / "evaluation.json").read_text())
    assert entry["asked"]["split"] == "all" and entry["num_images"] == 10
    figure = (
        f"all: {entry['bits_per_dim']:.4f} +- {entry['standard_error']:.4f} bits/dim (10 images"
    )
    assert figure in ended.out and "whether the run was trained on some" in ended.out
    assert sum(entry["parts"].values()) == pytest.approx(entry["bits_per_dim"])
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [f"{number}, odd.png" for number in range(10)]
    assert [row["index"] for row in rows] == [str(number) for number in range(10)]
    bits = np.array([float(row["bits_per_dim"]) for row in rows])
    nats = np.array([float(row["log_prob"]) for row in rows])
    assert bits.mean() == pytest.approx(entry["bits_per_dim"], rel=1e-12)
    np.testing.assert_allclose(nats, -bits * 192 * np.log(2), rtol=1e-12)

    (workdir / "unfinished_evaluation.json").mkdir()  # As a workdir that may not be written to.
    del flags["dataset"], flags["scores_csv"]
    ended = commands.call("lcma_tf.evaluate", *commands.as_flags(**flags))
    assert ended.code == 0 and "test: " in ended.out
    assert ended.err.startswith("warning: these figures are printed alone: ")
    assert ended.err.count("\n") == 1
    assert len(json.loads((workdir / "evaluation.json").read_text())) == 1


def test_a_run_tells_its_result(finished_one, capsys):
    metrics = {
        "split_rule": "lcma",
        "seed": 3,
        "test_bits_per_dim": 4.5,
        "test_bits_per_dim_standard_error": None,
        "test_images": 1200,
        "validation_bits_per_dim": 4.25,
        "png_bits_per_dim": 5.0,
        "webp_bits_per_dim": None,
    }
    for name in ("training.png", "samples.png"):
        (finished_one.path / name).touch()
    print_result(metrics, finished_one)
    assert capsys.readouterr().out.splitlines() == [
        "[lcma_tf] result of rule 'lcma', seed 3: "
        "test 4.5000 bits/dim (1,200 images), validation 4.2500",
        "[lcma_tf] lossless codecs on the test images: PNG 5.0000 bits/dim",
        f"[lcma_tf] pictures in {finished_one.path}: samples.png, training.png",
    ]
