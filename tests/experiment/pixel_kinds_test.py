"""Runs on images that are not plain 8-bit pictures: padded with zeros, and real-valued."""

import dataclasses
import json

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf import data
from lcma_tf.data.padding import padded
from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.workdir import Workdir
from testing import random_images, tiny_flow

FEW_STEPS = {"train_steps": 2, "steps_per_epoch": 2, "batch_size": 8, "split_rule": "realnvp"}
SMALL = {
    name: commands.TINY[name]
    for name in ("num_scales", "num_couplings", "base_dim", "num_residual_blocks")
}


@pytest.fixture(scope="module")
def padded_run(tmp_path_factory):
    """A run on 6x6 grey images in a frame of one pixel: its workdir and the images."""
    folder = tmp_path_factory.mktemp("padded")
    arrays = commands.splits((6, 6, 1))
    dataset = commands.write_npz(folder / "images.npz", **arrays)
    flags = commands.as_flags(dataset=dataset, pad_to=8, **SMALL, **FEW_STEPS)
    ended = commands.call("lcma_tf.train", *flags, f"--workdir={folder / 'run'}")
    assert ended.code == 0, ended.err
    assert "Zero-padded from 6x6 to 8x8" in ended.out
    return folder / "run", data.ImageData("arrays", **arrays)


def test_bits_per_dim_of_padded_images_are_those_of_the_picture(padded_run):
    workdir, images = padded_run
    metrics = json.loads((workdir / "metrics.json").read_text())
    model = lcma_tf.load(workdir)
    assert model.config.original_shape == (6, 6, 1)
    nats = model.frozen().log_prob(padded(images, 8).test).numpy()
    assert metrics["num_dimensions"] == 36
    assert metrics["test_bits_per_dim"] == pytest.approx(-nats.mean() / 36 / np.log(2), rel=1e-5)
    assert metrics["png_bits_per_dim"] == data.codec_bits_per_dim(images.test, "png")


def test_padded_images_are_scored_alike_by_every_program(padded_run):
    workdir, images = padded_run
    metrics = json.loads((workdir / "metrics.json").read_text())
    scored = lcma_tf.load(workdir).bits_per_dim(padded(images, 8).test).numpy().mean()
    assert scored == pytest.approx(metrics["test_bits_per_dim"], rel=1e-5)
    ended = commands.call("lcma_tf.evaluate", f"--workdir={workdir}")
    assert f"test: {metrics['test_bits_per_dim']:.4f} " in ended.out.replace("\b", ""), ended.err
    with open(workdir / "train" / "history.csv") as file:
        names, last = file.readline().strip().split(","), file.readline().strip().split(",")
    validation = float(dict(zip(names, last, strict=True))["val_bits_per_dim"])
    # In training its noise and statistics are others; by all 64 pixels it would be little over half.
    assert validation == pytest.approx(metrics["validation_bits_per_dim"], rel=0.2)


@pytest.fixture(scope="module")
def real_images():
    rng = np.random.default_rng(0)
    splits = {
        split: images + rng.uniform(0, 0.99, images.shape).astype(np.float32)
        for split, images in commands.splits().items()
    }
    return data.ImageData("real", **splits)


@pytest.fixture(scope="module")
def real_run(tmp_path_factory, real_images):
    workdir = Workdir(tmp_path_factory.mktemp("real") / "run")
    flow = lcma_tf.FlowConfig(**real_images.flow_options(), **SMALL)
    config = lcma_tf.TrainConfig(dataset="real", **FEW_STEPS)
    runtime = Runtime.open(RuntimeConfig(), config.batch_size)
    Run(flow, config, real_images, workdir, runtime)()
    return workdir


def test_a_run_on_real_valued_pixels_is_a_whole_run(real_run, real_images):
    metrics = real_run.read_metrics()
    assert metrics["png_bits_per_dim"] is None and metrics["webp_bits_per_dim"] is None
    assert metrics["exact_reconstructions"] == metrics["reconstructed_images"] == 40
    for picture in ("samples", "interpolation", "reconstruction", "training"):
        assert (real_run.path / f"{picture}.png").exists()
    model = lcma_tf.load(real_run.path)
    assert model.config.real_valued
    nats = model.frozen().log_prob(real_images.test)
    dimensions = real_images.num_original_dimensions
    bits = -np.mean(nats) / dimensions / np.log(2)
    assert metrics["test_bits_per_dim"] == pytest.approx(bits, rel=1e-5)


def test_a_flow_of_real_pixels_scores_them_as_they_are():
    model = tiny_flow(real_valued=True, dtype="float64", image_shape=commands.SHAPE)
    images = random_images(3, commands.SHAPE)
    shifted = np.clip(images + 0.25, 0, 255).astype(np.float32)
    noise = model.scoring_noise(0)[0].numpy()
    expected = model.distribution.log_prob(shifted.astype(np.float64) + noise)
    np.testing.assert_allclose(model.log_prob(shifted), expected, rtol=1e-6)
    np.testing.assert_allclose(model.log_prob(images), model.log_prob(images.astype(np.float32)))
    assert np.abs(model.log_prob(shifted) - model.log_prob(images)).min() > 1e-3


def test_evaluate_refuses_real_pixels_for_a_flow_of_8_bit_ones(padded_run, monkeypatch):
    workdir, images = padded_run
    framed = padded(images, 8)
    floats = {s: getattr(framed, s).astype(np.float32) for s in ("train", "validation", "test")}
    real = dataclasses.replace(framed, **floats)
    scored = data.OneSplit.of(real, "test")
    monkeypatch.setattr("lcma_tf.experiment.run_images.load_for_scoring", lambda **options: scored)
    ended = commands.call("lcma_tf.evaluate", f"--workdir={workdir}")
    commands.assert_refused(ended, "`dataset` 8-bit real-valued")
