"""A saved model scores the same, in this process and in a fresh one, its factorization included."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import lcma_tf
from lcma_tf import FlowModel, NegativeLogLikelihood
from lcma_tf.factorization import SPLIT_RULES
from testing import random_images, tiny_flow

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = (4, 4, 2)
IMAGES = random_images(5, SHAPE)


@pytest.fixture(scope="module")
def model():
    return tiny_flow("random", seed=3, batch_norm_moments="all", pixel_transform="one_sided")


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


def assert_same(loaded, model):
    assert loaded.config == model.config and loaded.factorization == model.factorization
    for variable, expected in zip(loaded.variables, model.variables, strict=True):
        assert variable.path == expected.path
        np.testing.assert_array_equal(variable.numpy(), expected.numpy(), expected.path)
    np.testing.assert_array_equal(loaded.log_prob(IMAGES), model.log_prob(IMAGES))
    np.testing.assert_array_equal(loaded.sample(3, seed=2), model.sample(3, seed=2))


def test_the_same_again_in_this_process(model, path):
    loaded = keras.models.load_model(path)
    assert isinstance(loaded, FlowModel)
    assert_same(loaded, model)


def test_a_workdir_and_its_file_load_alike(model, path):
    for place in (path, path.parent, str(path.parent)):
        loaded = lcma_tf.load(place)
        np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
        assert loaded.factorization == model.factorization


def test_the_same_scores_in_a_fresh_process(model, path):
    program = """
import json, sys
import numpy as np
import lcma_tf
model = lcma_tf.load(sys.argv[1])
images = np.array(json.loads(sys.stdin.read()), np.uint8)
result = {"factorization": model.factorization.to_dict(), "config": model.config.to_dict()}
result["log_prob"] = model.log_prob(images).numpy().tolist()
result["sample"] = model.sample(3, seed=2).numpy().tolist()
print(json.dumps(result))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        cwd=ROOT,
        input=json.dumps(IMAGES.tolist()),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["factorization"] == model.factorization.to_dict()
    assert lcma_tf.FlowConfig.from_dict(told["config"]) == model.config
    np.testing.assert_allclose(told["log_prob"], model.log_prob(IMAGES), rtol=1e-6)
    np.testing.assert_array_equal(told["sample"], model.sample(3, seed=2))


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_the_config_makes_the_same_flow_again(rule):
    model = tiny_flow(rule, dtype="float64" if rule == "none" else None)
    config = json.loads(json.dumps(model.get_config()))
    again = FlowModel.from_config(config)
    assert again.config == model.config and again.factorization == model.factorization
    assert again.compute_dtype == model.compute_dtype and again.name == model.name
    again.set_weights(model.get_weights())
    parts = again.log_prob_parts(IMAGES, 0.5)
    np.testing.assert_array_equal(parts, model.log_prob_parts(IMAGES, 0.5))


def test_a_compiled_model_comes_back_and_has_a_loss(tmp_path):
    model = tiny_flow(num_scales=1)
    model.compile(keras.optimizers.SGD(1e-3), loss=NegativeLogLikelihood(), jit_compile=False)
    model.save(tmp_path / "compiled.keras")
    loaded = keras.models.load_model(tmp_path / "compiled.keras")
    assert isinstance(loaded.loss, NegativeLogLikelihood)
    np.testing.assert_array_equal(loaded.log_prob(IMAGES), model.log_prob(IMAGES))


def test_weights_alone(model, tmp_path):
    model.save_weights(tmp_path / "best.weights.h5")
    other = FlowModel(model.config, model.factorization)
    other.load_weights(tmp_path / "best.weights.h5")
    assert_same(other, model)


@pytest.mark.parametrize("place", ["", "missing", "missing.keras"])
def test_a_missing_model_is_named(tmp_path, place):
    with pytest.raises(FileNotFoundError, match=f"`workdir` must hold .*got '{tmp_path / place}"):
        lcma_tf.load(tmp_path / place)
