"""The paper's method as functions: what they return, what they keep, what they refuse."""

import dataclasses
import importlib

import keras
import numpy as np
import pytest
from tensorflow.python.framework import ops

import commands
import lcma_tf
from lcma_tf.experiment import decision
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization
from lcma_tf.training.contributions import load_contributions

FLOW = lcma_tf.FlowConfig(
    commands.SHAPE, num_scales=2, base_dim=2, num_residual_blocks=1, num_couplings=1
)
TRAIN = lcma_tf.TrainConfig(
    train_steps=3, pretrain_steps=2, batch_size=8, steps_per_epoch=2, learning_rate=1e-2
)
IMAGES = commands.splits()["train"]


@pytest.fixture(scope="module")
def learned_and_left(tmp_path_factory):
    """A factorization that was learned in a folder; gradients that TensorFlow then still has of it."""
    workdir = Workdir(tmp_path_factory.mktemp("learned") / "run")
    gradients = ops.gradient_registry._registry
    before, uid = set(gradients), keras.backend.get_uid("of the caller")
    learned = lcma_tf.learn_factorization(FLOW, IMAGES, TRAIN, workdir=workdir.path)
    assert keras.backend.get_uid("of the caller") == uid + 1  # Keras' session is not ours to clear.
    return workdir, learned, set(gradients) - before


@pytest.fixture(scope="module")
def learned(learned_and_left):
    return learned_and_left[:2]


def test_the_pretrained_flow_leaves_no_graph_in_memory(learned_and_left):
    """They would hold it for as long as the process lives."""
    assert not [name for name in learned_and_left[2] if name.startswith("CustomGradient")]


def test_a_learned_factorization_is_the_rule_s_decision(learned):
    workdir, factorization = learned
    contributions = load_contributions(workdir.contributions)
    assert len(contributions) == 2 and np.abs(contributions).max() > 0
    assert factorization == lcma_tf.decide_factorization(
        "lcma", image_shape=commands.SHAPE, num_scales=2, contributions=contributions
    )
    assert not workdir.model.exists() and not workdir.metrics.exists()


def test_its_contributions_are_the_averages_of_the_pretrained_flow(learned):
    workdir, _ = learned
    model = lcma_tf.load(workdir.files("pretrain").result)
    images = IMAGES[:20]  # Of 24 images 2 are for the test, and 2 for validation.
    found = lcma_tf.average_contributions(model, images, batch_size=8)
    for ours, kept in zip(found, load_contributions(workdir.contributions), strict=True):
        np.testing.assert_allclose(ours, kept, rtol=1e-4, atol=1e-5)


def test_training_goes_on_from_there(learned, monkeypatch):
    workdir, factorization = learned
    before = commands.files(workdir.path)
    model = lcma_tf.train(FLOW, IMAGES, TRAIN, workdir=workdir.path)
    assert model.factorization == factorization
    after = commands.files(workdir.path)
    assert all(after[name] == before[name] for name in before if name.startswith("pretrain/"))
    assert workdir.read_metrics()["steps"] == 3 and (workdir.path / "training.png").exists()
    again = lcma_tf.load(workdir.path)
    np.testing.assert_array_equal(again.log_prob(IMAGES), model.log_prob(IMAGES))


def test_rotation_and_whitening_are_fitted_once_for_both_flows(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path / "run")
    config = dataclasses.replace(TRAIN, channel_rotation="klt", whitening="causal", seed=3)
    learned = lcma_tf.learn_factorization(FLOW, IMAGES, config, workdir=workdir.path)
    images = IMAGES[:20]
    rotation = lcma_tf.fit_channel_rotation(FLOW, images)
    np.testing.assert_allclose(learned.rotation(0), rotation, atol=1e-6)
    expected = dataclasses.replace(learned, whitening=None)
    expected = lcma_tf.fit_whitening(FLOW, images, expected, seed=3)
    np.testing.assert_allclose(learned.whitening.kernel, expected.kernel, rtol=1e-3, atol=1e-4)
    undivided = dataclasses.replace(learned, rule="none", masks=(), seed=0)
    assert Factorization.load(workdir.undivided) == undivided
    assert lcma_tf.load(workdir.files("pretrain").result).factorization == undivided
    # What the dimensions of a pretrained flow contribute, the whitening's constants included.
    contributions = load_contributions(workdir.contributions)
    again = lcma_tf.decide_factorization(
        "lcma",
        image_shape=commands.SHAPE,
        num_scales=2,
        contributions=contributions,
        rotations=learned.rotations,
        whitening=learned.whitening,
        seed=3,
    )
    assert learned == again
    monkeypatch.setattr(decision, "fit_whitening", None)  # Going on, it is fitted no more.
    model = lcma_tf.train(FLOW, IMAGES, config, workdir=workdir.path)
    assert model.factorization == learned


def test_dependence_is_that_of_what_whitening_leaves(monkeypatch):
    given = {}
    decide = decision.decide_factorization

    def remember(rule, **evidence):
        given.update(evidence)
        return decide(rule, **evidence)

    monkeypatch.setattr(decision, "decide_factorization", remember)
    config = dataclasses.replace(TRAIN, split_rule="dependence", whitening="causal")
    learned = lcma_tf.learn_factorization(FLOW, IMAGES, config)
    np.testing.assert_allclose(given["logits"].std((0, 1, 2)), 1.0, atol=0.05)
    assert learned.whitening == given["whitening"] is not None


def test_without_a_folder_only_what_is_returned_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    images = lcma_tf.data.ImageData("mine", **commands.splits())
    config = lcma_tf.TrainConfig.from_dict({**TRAIN.to_dict(), "split_rule": "realnvp"})
    model = lcma_tf.train(FLOW, images, config)
    assert model.factorization.rule == "realnvp" and int(model.training_calls) in (2, 3)
    assert np.isfinite(model.bits_per_dim(IMAGES)).all()
    assert list(tmp_path.iterdir()) == []


def test_the_command_s_module_can_be_called_too(monkeypatch):
    module = importlib.import_module("lcma_tf.train")
    assert module is lcma_tf.train or callable(lcma_tf.train)
    with pytest.raises(lcma_tf.ConfigError, match="`image_shape` must be that of the images"):
        module(FLOW, IMAGES[:, :4], TRAIN)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[:, :4], r"`image_shape` must be that of the images, \(4, 8, 3\); got \(8, 8, 3\)"),
        (IMAGES[:2], r"at least 3 images, .* got uint8 \[2, 8, 8, 3\]"),
        (IMAGES[0], r"`images` must be an array \[N, H, W, C\] .* got uint8 \[8, 8, 3\]"),
        (IMAGES.astype(np.int32), r"of uint8 pixels 0..255; got int32 \[24, 8, 8, 3\]"),
        (IMAGES.astype(np.float32), "`images` must be uint8 pixels 0..255, or `real_valued`"),
        (IMAGES.tolist(), r"`images` must be an array .* got list"),
        (IMAGES[:9], "`batch_size` must be at most the number of images, 7; got 8"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        lcma_tf.learn_factorization(FLOW, images, TRAIN, workdir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", [lcma_tf.learn_factorization, lcma_tf.train])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TRAIN, IMAGES, FLOW), "`config` must be a FlowConfig; got TrainConfig"),
        ((FLOW, IMAGES, FLOW), "`train_config` must be a TrainConfig or None; got FlowConfig"),
        ((FLOW, TRAIN, IMAGES), "`train_config` must be a TrainConfig or None; got ndarray"),
    ],
)
def test_configs_in_another_order_are_refused(function, arguments, message):
    with pytest.raises(lcma_tf.ConfigError, match=message):
        function(*arguments)


def test_a_runtime_is_no_number():
    with pytest.raises(lcma_tf.ConfigError, match="`runtime` must be a RuntimeConfig or None; got"):
        lcma_tf.train(FLOW, IMAGES, TRAIN, runtime=2)


def test_nothing_is_pretrained_for_a_flow_of_one_scale(tmp_path):
    flow = dataclasses.replace(FLOW, num_scales=1)
    with pytest.raises(lcma_tf.ConfigError, match="`num_scales` must be at least 2 .*; got 1"):
        lcma_tf.train(flow, IMAGES, TRAIN, workdir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_given_factorization_of_another_rule_is_refused(tmp_path):
    given = lcma_tf.decide_factorization("realnvp", image_shape=commands.SHAPE, num_scales=2)
    given.save(tmp_path / "f.npz")
    asked = dataclasses.replace(
        TRAIN, factorization_path=str(tmp_path / "f.npz"), split_rule="random"
    )
    with pytest.raises(lcma_tf.ConfigError, match="`split_rule` .* 'realnvp' .*; got 'random'"):
        lcma_tf.train(FLOW, IMAGES, asked, workdir=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]
    unasked = dataclasses.replace(TRAIN, factorization_path=asked.factorization_path)
    workdir = Workdir(tmp_path / "run")
    assert lcma_tf.learn_factorization(FLOW, IMAGES, unasked, workdir=workdir.path) == given
    assert workdir.read_configs()[1].split_rule == "realnvp"


def test_images_in_memory_are_no_data_set_by_name():
    with pytest.raises(lcma_tf.data.DataError, match="given as arrays and kept nowhere"):
        lcma_tf.data.load("in_memory")
