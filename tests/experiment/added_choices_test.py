"""One of each kind of choice, added through its table alone: it trains, loads, scores and is exported.

And what becomes of a run when its rule is taken out again, and of masks that no rule decided.
"""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import commands
import lcma_tf
from bijector_cases import Bulge
from lcma_tf import bijectors, choices
from lcma_tf.data import ImageData
from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.run_images import load_images
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import SplitRule
from lcma_tf.factorization.masks import checkerboard
from lcma_tf.model import FusedAdam
from lcma_tf.scores.table import Score
from lcma_tf.serving.publishing.export_flow import export_flow

SHAPE = (8, 8, 3)


class Linear(keras.layers.Layer):
    """A conditioner that looks at the mean of what is kept."""

    def __init__(self, channels, num_parameters, **kwargs):
        super().__init__(**kwargs)
        shape = (num_parameters, channels)
        self.slope = self.add_weight(shape=shape, initializer="zeros", name="slope")
        self.built = True

    def call(self, kept, training=False, momentum=0.9, weight=None):
        return parameters(kept, tf.convert_to_tensor(self.slope))

    def frozen(self, mixed_precision=False):
        return FrozenLinear(self)


class FrozenLinear(tf.Module):
    def __init__(self, network):
        super().__init__(name=network.name)
        self.slope = tf.Variable(network.slope.value, trainable=False)

    def __call__(self, kept):
        return parameters(kept, self.slope)


def parameters(kept, slope):
    mean = tf.reduce_mean(kept, [1, 2], keepdims=True)
    parts = [tf.broadcast_to(mean * part, tf.shape(kept)) for part in tf.unstack(slope)]
    return *parts[:2], tf.stack(parts[2:], -1)


class ToyFlow:
    """One coupling a layer."""

    def __init__(self, config, factorization):
        self._config, self._factorization = config, factorization

    def make_networks(self, dtype, rematerialize=False):
        grown = 4 if self._factorization.rule == "none" else 2
        channels = self._config.image_shape[-1]
        number = choices.COUPLINGS[self._config.coupling].num_parameters
        return {
            f"coupling_{level}": Linear(
                channels * grown**level, number, name=f"at_{level}", dtype=dtype
            )
            for level in range(self._config.num_scales)
        }

    def make_bijector(self, networks):
        return self._layer(0, self._config.image_shape, networks)

    def _layer(self, level, shape, networks):
        kind, network = choices.COUPLINGS[self._config.coupling], networks[f"coupling_{level}"]
        coupling = kind(checkerboard(shape), network, name=f"coupling_{level}")
        if level == self._config.num_scales - 1:
            return bijectors.FlowLayer(coupling, None, shape)
        height, width, channels = shape
        if self._factorization.rule == "none":
            inner = self._layer(level + 1, (height // 2, width // 2, 4 * channels), networks)
            rest = bijectors.Squeezed(inner, shape)
        else:
            inner = self._layer(level + 1, (height // 2, width // 2, 2 * channels), networks)
            rest = bijectors.LikelihoodContributionSplit(self._factorization.masks[level], inner)
        return bijectors.FlowLayer(coupling, rest, shape)


def largest_half(contribution, shape, rng):
    assert contribution.shape == shape
    kept = np.zeros(contribution.size, bool)
    kept[np.argsort(contribution, axis=None)[contribution.size // 2 :]] = True
    return kept.reshape(shape)


def mirrored_logit(alpha, event_shape):
    logit = bijectors.PixelLogit(alpha, "two_sided", event_shape)
    return bijectors.ImageChain([logit, tfp.bijectors.Scale(-1.0)], event_shape)


def load_toy(path, data_dir, image_size, resampler="antialias"):
    resample = choices.RESAMPLERS[resampler]
    images = np.stack([resample(image, image_size) for image in np.load(path)])
    return ImageData("toy", images[:24], images[24:32], images[32:])


class Counted(FusedAdam):
    """Knows how many trainings it was made for."""

    made = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Counted.made += 1


ADDED = {
    "FLOWS": {"toy": ToyFlow},
    "COUPLINGS": {"bulge": Bulge},
    "PIXEL_TRANSFORMS": {"mirrored": mirrored_logit},
    "RULES": {
        "largest_half": SplitRule("the half that contributes most", largest_half, "contributions")
    },
    "OPTIMIZERS": {"counted": Counted},
    "SOURCES": {"toy:": load_toy},
    "RESAMPLERS": {"corner": lambda image, size: image[:size, :size]},
    "SCORES": {"first_latents": Score("nats", lambda known: known.measures["latent_1"], "low")},
}
TOY = {
    "flow": "toy",
    "coupling": "bulge",
    "pixel_transform": "mirrored",
    "split_rule": "largest_half",
    "optimizer": "counted",
    "resampler": "corner",
    "image_size": 8,
    "pretrain_steps": 2,
    "train_steps": 3,
    "batch_size": 8,
}


@pytest.fixture(scope="module", autouse=True)
def added():
    with pytest.MonkeyPatch.context() as patch:
        for table, entries in ADDED.items():
            for name, entry in entries.items():
                patch.setitem(getattr(choices, table), name, entry)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "pictures.npy"
    np.save(path, np.concatenate(list(commands.splits((12, 12, 3)).values())))
    return f"toy:{path}"


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    """The flags of a finished run, and its folder."""
    folder = tmp_path_factory.mktemp("run")
    argv = [*commands.as_flags(**TOY), f"--dataset={dataset}", f"--workdir={folder}"]
    ended = commands.call("lcma_tf.train", *argv)
    assert ended.code == 0, ended
    return argv, Workdir(folder)


def evaluated(workdir):
    ended = commands.call("lcma_tf.evaluate", f"--workdir={workdir.path}")
    assert ended.code == 0, ended
    return float(re.search(r"test: (\S+)", ended.out)[1])


def test_a_run_with_one_of_each_has_them(run):
    _, workdir = run
    flow, train = workdir.read_configs()
    assert (flow.flow, flow.pixel_transform, flow.image_shape) == ("toy", "mirrored", SHAPE)
    assert flow.coupling == "bulge"
    assert (train.split_rule, train.resampler) == ("largest_half", "corner")
    assert train.optimizer == "counted" and Counted.made == 2  # A pretraining and a training.
    metrics = workdir.read_metrics()
    assert metrics["split_rule"] == "largest_half" and metrics["pretrain_steps"] == 2
    assert metrics["num_parameters"] == 3 * (3 + 6)
    assert metrics["exact_reconstructions"] == metrics["reconstructed_images"] == 40
    assert metrics["probe_log_det"] < 1e-4


def test_it_loads_and_scores_the_same(run):
    _, workdir = run
    model = lcma_tf.load(workdir.path)
    images = load_images(workdir, *workdir.read_configs())
    expected = workdir.read_metrics()["test_bits_per_dim"]
    assert np.mean(model.bits_per_dim(images.images)) == pytest.approx(expected, rel=1e-5)
    assert evaluated(workdir) == pytest.approx(expected, abs=1e-4)
    for slope in np.asarray(model.networks[0].slope):  # It was trained, the curve too.
        assert np.any(slope)


def test_it_is_exported(run, tmp_path):
    # Compared, row by row and in the server's own runtime, with what the model says.
    version = export_flow(lcma_tf.load(run[1].path), tmp_path / "models", max_batch_size=8)
    assert version.name == "1" and "toy flow" in (version / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("flow", ["realnvp", "glow"])
def test_the_flows_that_are_there_take_its_coupling(flow, dataset, tmp_path):
    sizes = {**commands.TINY, "num_steps_per_scale": 1, "train_steps": 3, "split_rule": "realnvp"}
    changes = {**TOY, **sizes, "flow": flow, "workdir": tmp_path / "run", "dataset": dataset}
    ended = commands.call("lcma_tf.train", *commands.as_flags(**changes))
    assert ended.code == 0, ended
    metrics = Workdir(tmp_path / "run").read_metrics()
    assert metrics["exact_reconstructions"] == metrics["reconstructed_images"]
    assert metrics["probe_log_det"] < 1e-4
    model = lcma_tf.load(tmp_path / "run")
    networks = [n for n in model.networks if getattr(n, "num_parameters", 2) != 2]
    assert networks and {n.num_parameters for n in networks} == {Bulge.num_parameters}
    # Compared, row by row and in the server's own runtime, with what the model says.
    assert export_flow(model, tmp_path / "models", max_batch_size=8).name == "1"


def test_a_score_is_calibrated_and_may_say_what_is_an_anomaly(run):
    model = lcma_tf.load(run[1].path)
    images = commands.splits(SHAPE)["train"].repeat(5, axis=0)
    images[::2] += np.arange(60, dtype=np.uint8)[:, None, None, None] % 40
    calibration = lcma_tf.calibrate(model, images, anomaly_by="first_latents", verbose=False)
    assert "first_latents" in calibration.tails
    scored = lcma_tf.ScoredFlow(model, calibration)
    found = scored.scores(np.stack([images[0], np.zeros(SHAPE, np.uint8)]))
    assert list(found)[-1] == "first_latents" and np.isfinite(found["first_latents"]).all()
    low, high = np.argsort(found["first_latents"])
    assert found["anomaly_score"][low] >= found["anomaly_score"][high]


def test_a_run_whose_rule_is_gone_loads_scores_and_goes_on(run, tmp_path, monkeypatch):
    argv, workdir = run
    model = lcma_tf.load(workdir.path)
    images = lcma_tf.data.load(**workdir.read_configs()[1].data_options())
    scores = model.bits_per_dim(images.test)
    monkeypatch.delitem(choices.RULES, "largest_half")
    again = lcma_tf.load(workdir.path)
    assert again.factorization == model.factorization and again.factorization.rule == "largest_half"
    np.testing.assert_array_equal(again.bits_per_dim(images.test), scores)
    assert evaluated(workdir) == pytest.approx(np.mean(scores), abs=1e-4)
    # Its model is made again from what was decided: no rule is asked.
    metrics = workdir.read_metrics()
    workdir.model.unlink()
    workdir.metrics.unlink()
    configs, runtime = workdir.read_configs(), Runtime.open(RuntimeConfig(), batch_size=8)
    found = Run(*configs, images, workdir, runtime)()
    assert found["test_bits_per_dim"] == pytest.approx(metrics["test_bits_per_dim"], rel=1e-6)
    # To decide by it is another matter.
    with pytest.raises(lcma_tf.FactorizationError, match="must be one of lcma, .*'largest_half'"):
        Run(*configs, images, Workdir(tmp_path / "new"), runtime)()
    assert not (tmp_path / "new").exists()
    commands.assert_refused(commands.call("lcma_tf.train", *argv), "split_rule largest_half")


def upper_half(shape):
    mask = np.zeros(shape, bool)
    mask[: shape[0] // 2] = True
    return mask


def test_masks_of_ones_own_are_trained_with(dataset, tmp_path):
    masks = [upper_half(SHAPE)]
    custom = lcma_tf.Factorization(rule="custom", image_shape=SHAPE, masks=masks)
    custom.save(tmp_path / "mine.npz")
    workdir = Workdir(tmp_path / "run")
    ended = commands.call(
        "lcma_tf.train",
        *commands.as_flags(**{**TOY, "split_rule": "lcma"}),
        f"--dataset={dataset}",
        f"--factorization_path={tmp_path / 'mine.npz'}",
        f"--workdir={workdir.path}",
    )
    assert ended.code == 0, ended
    metrics = json.loads(workdir.metrics.read_text())
    assert metrics["split_rule"] == "custom" and metrics["pretrain_steps"] == 0
    assert workdir.read_configs()[1].split_rule == "custom"
    assert metrics["mask_agreement_with_realnvp"] == [0.5]
    model = lcma_tf.load(workdir.path)
    assert model.factorization == custom
    codes = model.encode(load_images(workdir, *workdir.read_configs()).images)
    assert codes.shape == (8, *SHAPE)
