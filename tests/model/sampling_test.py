"""Samples, codes and paths between images; and what the public methods refuse."""

import math

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import ConfigError, FactorizationError, FlowModel, TrainConfig
from lcma_tf.factorization import SPLIT_RULES
from testing import assert_same_in_any_batch, random_images, tiny_config, tiny_flow

SHAPE = (4, 4, 2)


def test_samples_are_images_decided_by_the_seed(model):
    samples = model.sample(5, seed=1).numpy()
    assert samples.dtype == np.uint8 and samples.shape == (5, *SHAPE)
    np.testing.assert_array_equal(model.sample(5, seed=1), samples)
    assert np.any(model.sample(5, seed=2) != samples)
    assert len(np.unique(samples.reshape(5, -1), axis=0)) == 5


def test_temperature(model):
    cold = model.sample(4, seed=1, temperature=0.0).numpy()
    assert_same_in_any_batch(cold, np.repeat(cold[:1], 4, axis=0))
    assert_same_in_any_batch(cold[:1], model.decode(np.zeros((1, *SHAPE), np.float32)))
    warm, hot = (model.sample(4, seed=1, temperature=t) for t in (0.5, 1.0))
    assert np.any(warm != hot)


def test_samples_of_the_distribution_score_as_it_says(model):
    y, log_prob = model.distribution.experimental_sample_and_log_prob(6, seed=(1, 2))
    assert y.shape == (6, *SHAPE) and log_prob.shape == (6,)
    # Far out the pixel transform keeps few digits in float32: compare where it does.
    inside = np.all((y > 1) & (y < 255), axis=(1, 2, 3))
    again = model.distribution.log_prob(tf.identity(y)).numpy()
    np.testing.assert_allclose(again[inside], log_prob.numpy()[inside], rtol=1e-3)


@pytest.mark.parametrize("seed", [None, 0, 3])
def test_codes_decode_to_the_same_pixels(model, images, seed):
    latents = model.encode(images, seed=seed)
    assert latents.shape == images.shape and latents.dtype == tf.float32
    np.testing.assert_array_equal(model.decode(latents), images)


@pytest.mark.parametrize(
    ("rule", "pixel_transform"),
    [*((rule, "two_sided") for rule in SPLIT_RULES), ("lcma", "one_sided")],
)
def test_extreme_pixels_come_back(rule, pixel_transform):
    model = tiny_flow(rule, pixel_transform=pixel_transform)
    extremes = np.zeros((4, *SHAPE), np.uint8)
    extremes[1] = 255
    extremes[2, ::2] = 255
    extremes[3, :, 1::2] = 254
    np.testing.assert_array_equal(model.decode(model.encode(extremes)), extremes)


def test_paths_start_and_end_at_the_images(model, images):
    a, b = images[:3], images[3:6]
    paths = model.interpolate(a, b, steps=5)
    assert paths.shape == (3, 5, *SHAPE) and paths.dtype == tf.uint8
    np.testing.assert_array_equal(paths[:, 0], a)
    np.testing.assert_array_equal(paths[:, -1], b)
    middle = model.decode((model.encode(a) + model.encode(b)) / 2)
    np.testing.assert_array_equal(paths[:, 2], middle)


GOOD = random_images(2, SHAPE)
BAD_IMAGES = {
    "float": (GOOD.astype(np.float32), "uint8 pixels 0..255.*got dtype float32"),
    "int64": (GOOD.astype(np.int64), "uint8.*got dtype int64"),
    "channels": (random_images(2, (4, 4, 3)), r"shape \[N, 4, 4, 2\]; got \[2, 4, 4, 3\]"),
    "size": (random_images(2, (8, 4, 2)), r"shape \[N, 4, 4, 2\]; got \[2, 8, 4, 2\]"),
    "one image": (GOOD[0], r"shape \[N, 4, 4, 2\]; got \[4, 4, 2\]"),
}


@pytest.mark.parametrize("method", ["log_prob", "bits_per_dim", "encode", "__call__"])
@pytest.mark.parametrize(("bad", "message"), BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_other_images_are_refused(model, method, bad, message):
    with pytest.raises(ValueError, match=f"`images` must .*{message}"):
        getattr(model, method)(bad)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(-1), "`n` must be at least 0; got -1"),
        (lambda m: m.sample(1, temperature=math.nan), "`temperature` must be .*; got nan"),
        (lambda m: m.sample(1, temperature=math.inf), "`temperature` must be .*; got inf"),
        (lambda m: m.sample(1, temperature=-1.0), "`temperature` must be .*; got -1.0"),
        (lambda m: m.sample(1, temperature=2.1), "`temperature` must be between 0 and 2; got 2.1"),
        (
            lambda m: m.decode(np.float32([math.nan, math.inf, *[0] * 30]).reshape(1, *SHAPE)),
            "`latents` must be finite; got 2 values that are not",
        ),
        (lambda m: m.interpolate(GOOD, GOOD, steps=1), "`steps` must be at least 2; got 1"),
        (lambda m: m.interpolate(GOOD, GOOD, steps=2.5), "`steps` must be an integer; got 2.5"),
        (lambda m: m.sample(4.0), "`n` must be an integer; got 4.0"),
        (lambda m: m.sample(None), "`n` must be an integer; got None"),
        (lambda m: m.sample(1, seed=(0, 1)), r"`seed` must be one integer .*; got \(0, 1\)"),
        (lambda m: m.sample(1, seed=2**40), "`seed` must be one integer of 32 bits"),
        (lambda m: m.sample(1, temperature="hot"), "`temperature` must be .*; got 'hot'"),
        (lambda m: m.log_prob(GOOD, seed=0.5), "`seed` must be one integer .*; got 0.5"),
        (lambda m: m.encode(GOOD, seed="a"), "`seed` must be one integer .*; got 'a'"),
        (lambda m: m.encode(None), "`images` must be an array or a tensor; got NoneType"),
        (lambda m: m.decode(None), "`latents` must be an array or a tensor; got NoneType"),
        (lambda m: m.log_prob(GOOD, num_importance_samples=2.5), "an integer; got 2.5"),
        (lambda m: m.frozen(pieces="2"), "`pieces` must be an integer; got '2'"),
        (lambda m: m.interpolate(GOOD, GOOD[:1]), r"`a` and `b` must .*got \[2, .*\[1, "),
        (lambda m: m.log_prob(GOOD, num_importance_samples=0), "at least 1; got 0"),
        (lambda m: m.decode(np.zeros((2, 4, 4, 3))), r"`latents` must .*got \[2, 4, 4, 3\]"),
    ],
)
def test_senseless_arguments_are_refused(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_counts_and_seeds_may_be_of_numpy_or_tensorflow(model):
    expected = model.sample(2, 3, 0.5)
    for kind in (np.int64, np.uint8, tf.constant):
        found = model.sample(kind(2), kind(3), np.float32(0.5))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "`config` must be a FlowConfig; got None"),
        ((TrainConfig(),), "`config` must be a FlowConfig; got TrainConfig"),
        ((tiny_config(), "lcma"), "`factorization` must be a Factorization or None; got str"),
        ((tiny_config(), {}), "`factorization` must be a Factorization or None; got dict"),
    ],
)
def test_what_no_flow_can_be_made_of_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FlowModel(*arguments)


def test_a_factorization_of_another_flow_is_refused(model):
    other = tiny_flow(image_shape=(4, 8, 2)).factorization
    with pytest.raises(FactorizationError, match=r"image_shape=\(4, 4, 2\)"):
        FlowModel(model.config, other)
    with pytest.raises(FactorizationError, match="num_scales=1"):
        FlowModel(tiny_flow(num_scales=1).config, model.factorization)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_another_dtype_is_refused(model, dtype):
    with pytest.raises(ValueError, match=f"'float32' or 'float64'; got '{dtype}'"):
        FlowModel(model.config, model.factorization, dtype=dtype)
