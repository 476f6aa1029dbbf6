"""Keras' `floatx` is about other models: a flow is float32 unless its `dtype` says otherwise."""

import keras
import pytest

import lcma_tf
from lcma_tf.model.fused_adam import FusedAdam
from testing import assert_close, random_images, tiny_flow

IMAGES = random_images(5, (4, 4, 1))


def trained(path, dtype=None):
    """The logs of training, of evaluation, and of training on after a round trip through a file."""
    model = tiny_flow(image_shape=(4, 4, 1), num_scales=1, dtype=dtype)
    adam = FusedAdam(1e-3, global_clipnorm=100.0)
    model.compile(adam, loss=lcma_tf.NegativeLogLikelihood(), jit_compile=False)
    options = {"batch_size": 2, "shuffle": False, "verbose": 0}
    first = model.fit(IMAGES, **options).history
    score = model.evaluate(IMAGES, verbose=0, return_dict=True)
    model.save(path)
    again = keras.models.load_model(path)
    assert again.dtype == model.dtype == (dtype or "float32")
    assert {variable.dtype for variable in again.trainable_variables} == {again.dtype}
    assert int(again.optimizer.iterations) == 3
    return first, score, again.fit(IMAGES, **options).history


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("usual") / "model.keras")


@pytest.mark.parametrize("floatx", ["float64", "float16", "bfloat16"])
def test_any_floatx(floatx, expected, tmp_path):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        actual = trained(tmp_path / "model.keras")
        assert keras.config.floatx() == floatx
    finally:
        keras.config.set_floatx(before)
    for logs, usual in zip(actual, expected, strict=True):
        assert logs.keys() == usual.keys()
        for name, value in usual.items():
            assert_close(logs[name], value, 1e-3, name)  # The learning rate is of 16 bits.


def test_a_flow_of_float64(expected, tmp_path):
    """Its noise is other noise, so the scores are near those of float32 and no nearer."""
    actual = trained(tmp_path / "model.keras", dtype="float64")
    for logs, usual in zip(actual, expected, strict=True):
        for name in ("loss", "bits_per_dim"):
            assert_close(logs[name], usual[name], 0.05, name)
