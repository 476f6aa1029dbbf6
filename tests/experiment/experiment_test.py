"""What one run of the whole pipeline leaves, and what a second one does not do again."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import commands
import lcma_tf
from lcma_tf import data
from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
from lcma_tf.experiment.evaluation import bits_per_dim_of_split
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.model.recalibration import noise_of
from lcma_tf.training.contributions import load_contributions
from lcma_tf.training.history import read_history

NUMBER = (int, float)
METRICS = {
    "test_bits_per_dim": NUMBER,
    "png_bits_per_dim": NUMBER,
    "webp_bits_per_dim": NUMBER,
    "split_rule": str,
    "seed": int,
    "steps": int,
    "dataset": str,
    "num_parameters": int,
    "probe_round_trip": NUMBER,
    "probe_log_det": NUMBER,
}
PICTURES = ("samples", "interpolation", "reconstruction", "factorization", "training")


@pytest.fixture(scope="module")
def workdir(finished):
    return Workdir(finished.workdir)


@pytest.fixture(scope="module")
def images(finished):
    return data.load(f"npz:{finished.workdir.parent / 'images.npz'}")


def test_metrics(workdir, images):
    metrics = json.loads(workdir.metrics.read_text())
    for name, kind in METRICS.items():
        assert isinstance(metrics[name], kind), name
    assert (metrics["split_rule"], metrics["seed"], metrics["steps"]) == ("lcma", 0, 22)
    assert metrics["test_images"] == len(images.test)
    everything = len(images.test) + len(images.validation) + len(images.train)
    assert metrics["exact_reconstructions"] == metrics["reconstructed_images"] == everything
    assert metrics["onednn"] in (True, False)
    assert 0 < metrics["test_bits_per_dim"] < 9


def test_the_probe_finds_the_flow_exact_after_every_epoch(workdir):
    histories = [
        read_history(workdir.phase(name) / "history.csv") for name in ("pretrain", "train")
    ]
    assert [len(rows) for rows in histories] == [4, 6]
    for found in (*histories[0], *histories[1], json.loads(workdir.metrics.read_text())):
        assert 0 <= found["probe_round_trip"] < 0.1 and 0 <= found["probe_log_det"] < 1e-4


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_open(workdir, name):
    with Image.open(workdir.path / f"{name}.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 100
        assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 5  # Not blank.


def test_contributions_are_the_mean_of_the_accumulated_terms(workdir, images):
    with np.load(workdir.contributions, allow_pickle=False) as file:
        assert file.files == ["layer_1", "layer_2"]
        saved = [file[name] for name in file.files]
    assert all(layer.dtype == np.float32 and layer.shape == commands.SHAPE for layer in saved)
    model = lcma_tf.load(workdir.phase("pretrain") / "model.keras")
    assert model.factorization.rule == "none"
    batch_size = commands.TINY["batch_size"]
    totals = np.zeros((2, *commands.SHAPE))
    for index, start in enumerate(range(0, len(images.train), batch_size)):
        batch = images.train[start : start + batch_size]
        first, second = (t.numpy() for t in model.layer_terms(batch, noise_of(model, 0, index)))
        totals += np.stack([first.sum(0), (first + second).sum(0)])
    np.testing.assert_allclose(saved, totals / len(images.train), rtol=1e-4, atol=1e-5)


def test_the_factorization_follows_from_the_contributions(workdir):
    with np.load(workdir.factorization, allow_pickle=False) as file:
        assert file["mask_1"].dtype == bool and file["rule"] == "lcma"
    decided = lcma_tf.decide_factorization(
        "lcma",
        image_shape=commands.SHAPE,
        num_scales=2,
        contributions=load_contributions(workdir.contributions),
    )
    assert lcma_tf.Factorization.load(workdir.factorization) == decided
    assert lcma_tf.load(workdir.path).factorization == decided


def test_the_agreement_of_each_mask_is_printed(finished, workdir):
    factorization = lcma_tf.Factorization.load(workdir.factorization)
    static = lcma_tf.decide_factorization("realnvp", image_shape=commands.SHAPE, num_scales=2)
    (share,) = factorization.agreement(static)
    assert f"mask_1 agrees with the static 'realnvp' mask on {share:.1%}" in finished.out


def test_it_ends_by_saying_where_its_time_went(finished):
    *_, told = finished.out.splitlines()
    assert re.match(r"\[lcma_tf\] time: [\d.]+ s, [\d.]+ of them training steps; ", told), told
    for part in (
        "first step",
        "validation",
        "statistics",
        "contributions",
        "evaluation",
        "pictures",
    ):
        assert re.search(rf"[;,] {part} [\d.]+(,|$)", told), (part, told)


def test_the_loaded_flow_scores_the_same(workdir, images):
    model = lcma_tf.load(workdir.path)
    metrics = json.loads(workdir.metrics.read_text())
    scores = bits_per_dim_of_split(model, images.test, commands.TINY["batch_size"])
    np.testing.assert_allclose(scores.mean(), metrics["test_bits_per_dim"], rtol=1e-6)
    assert len(scores) == len(images.test)


def test_the_same_command_trains_and_scores_nothing_again(finished, workdir):
    before, metrics = commands.files(workdir.path), workdir.metrics.read_bytes()
    ended = commands.call("lcma_tf.train", *finished.flags, f"--workdir={workdir.path}")
    assert ended.code == 0 and "Epoch" not in ended.out and "pretrain" not in ended.out
    assert workdir.metrics.read_bytes() == metrics
    rewritten = {
        name for name, state in commands.files(workdir.path).items() if state != before.get(name)
    }
    # The last, by an evaluation at the same time.
    assert rewritten <= {*(f"{name}.png" for name in PICTURES), "evaluation.json"}


def test_evaluate_prints_the_figure_of_the_run(workdir):
    metrics = json.loads(workdir.metrics.read_text())
    ended = commands.call("lcma_tf.evaluate", f"--workdir={workdir.path}")
    assert ended.code == 0
    assert f"{metrics['test_bits_per_dim']:.4f} +-" in ended.out
    tighter = commands.call(
        "lcma_tf.evaluate",
        *commands.as_flags(workdir=workdir.path, split="validation", num_importance_samples=2),
    )
    assert tighter.code == 0 and "(8 images, 2 noise draws each)" in tighter.out


@pytest.mark.parametrize(
    "flags",
    [
        {"num_samples": 5},
        {"kind": "temperatures", "temperature": 0.5},
        {"kind": "interpolation", "num_samples": 2, "steps": 3},
    ],
)
def test_sample_draws(workdir, tmp_path, flags):
    path = tmp_path / "drawn.png"
    argv = commands.as_flags(workdir=workdir.path, output=path, intra_op_threads=1, **flags)
    ended = commands.call("lcma_tf.sample", *argv)
    said, written = ended.out.splitlines()
    assert (ended.code, written) == (0, str(path)), ended.err
    assert "intra_op_threads=1 comes too late" in said  # As TensorFlow runs here already.
    with Image.open(path) as picture:
        assert min(picture.size) > 20


RUNTIME = Runtime.open(RuntimeConfig(), 8)


class Trained(Exception):
    """Raised instead of training."""


@pytest.mark.parametrize("rule", ["realnvp", "random", "lcma", "a file"])
def test_only_rules_that_read_contributions_pretrain(rule, workdir, images, tmp_path, monkeypatch):
    phases = []

    def train(phase, *arguments):
        phases.append((phase.files.directory.name, phase.num_steps, phase.factorization))
        raise Trained

    monkeypatch.setattr("lcma_tf.training.phase.TrainingPhase.run", train)
    flow = lcma_tf.FlowConfig(commands.SHAPE, num_scales=2)
    given = {"split_rule": rule} if rule != "a file" else {}
    path = workdir.factorization if rule == "a file" else None
    config = lcma_tf.TrainConfig(
        train_steps=7,
        pretrain_steps=5,
        batch_size=8,
        factorization_path=path and str(path),
        **given,
    )
    with pytest.raises(Trained):
        Run(flow, config, images, Workdir(tmp_path / "new"), RUNTIME)()
    ((phase, num_steps, factorization),) = phases
    if rule == "lcma":
        assert (phase, num_steps, factorization.rule) == ("pretrain", 5, "none")
        return
    assert (phase, num_steps) == ("train", 7)
    if rule == "a file":
        assert factorization == lcma_tf.Factorization.load(path)
    else:
        assert factorization == lcma_tf.decide_factorization(
            rule, image_shape=commands.SHAPE, num_scales=2
        )


def test_a_run_without_multi_scale(images, tmp_path):
    flow = lcma_tf.FlowConfig(
        commands.SHAPE, num_scales=1, base_dim=2, num_residual_blocks=1, num_couplings=1
    )
    config = lcma_tf.TrainConfig(split_rule="none", train_steps=3, batch_size=8)
    workdir = Workdir(tmp_path / "new")
    metrics = Run(flow, config, images, workdir, RUNTIME)()
    assert metrics["split_rule"] == "none" and metrics["pretrain_steps"] == 0
    assert np.isfinite(metrics["test_bits_per_dim"])
    assert not workdir.contributions.exists() and not workdir.phase("pretrain").exists()
    assert all((workdir.path / f"{name}.png").exists() for name in PICTURES)
    assert lcma_tf.load(workdir.path).factorization.masks == ()
