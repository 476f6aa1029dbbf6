"""Bits/dim against densities known by hand, parts against the whole, bounds against the truth."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import commands
import lcma_tf
from lcma_tf.experiment.evaluation import (
    bits_per_dim_of_split,
    bits_per_dim_parts_of_split,
    count_exact_reconstructions,
    standard_error,
)
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.model.bits_per_dim import nats_to_bits_per_dim
from testing import assert_close, random_images, tiny_flow

SHAPE, ALPHA = (4, 4, 2), 0.05
PAIR = (1, 2, 1)  # Two pixels: little enough to integrate over.


def identity_flow(**changes):
    """A flow of float64 that does nothing between the pixel transform and the normal base."""
    model = tiny_flow(dtype="float64", random_weights=None, image_shape=SHAPE, **changes)
    for network in model.networks:
        for variable in network.variables:
            if variable.name in ("output_magnitude", "output_bias", "scale"):
                variable.assign(np.zeros(variable.shape))
            if variable.name == "variance":  # With the epsilon of the norm it is 1.
                variable.assign(np.full(variable.shape, 1 - 1e-4))
    return model


def logit(y):
    p = ALPHA + (1 - 2 * ALPHA) * y / 256
    return np.log(p / (1 - p))


def log_slope(y):
    p = ALPHA + (1 - 2 * ALPHA) * y / 256
    return np.log((1 - 2 * ALPHA) / 256 / (p * (1 - p)))


def log_normal(x):
    return -0.5 * x**2 - 0.5 * math.log(2 * math.pi)


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


@pytest.fixture(scope="module")
def identity():
    return identity_flow()


def test_one_draw_is_the_formula(identity):
    images = random_images(5, SHAPE)
    y = images + identity.scoring_noise(seed=3)[0].numpy()
    nats = (log_normal(logit(y)) + log_slope(y)).sum((1, 2, 3))
    assert_close(identity.log_prob(images, seed=3), nats, 1e-9)
    bits = -nats / (4 * 4 * 2 * math.log(2))
    assert_close(identity.bits_per_dim(images, seed=3), bits, 1e-9)
    assert_close(bits_per_dim_of_split(identity, images, batch_size=5, seed=3), bits, 1e-9)


def test_many_draws_are_the_exact_probability_of_the_pixels(identity):
    images = random_images(3, SHAPE)
    # P(x) = P(x <= y < x + 1), pixel by pixel, and the normal distribution knows it.
    exact = np.log(normal_cdf(logit(images + 1.0)) - normal_cdf(logit(images * 1.0)))
    exact = exact.sum((1, 2, 3))
    one_draw = identity.log_prob(images)
    bound = identity.log_prob(images, num_importance_samples=2_000)
    assert np.abs(bound - exact).max() < 0.01
    assert np.abs(one_draw - exact).min() > 0.01  # Or the bound would be no better.


@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_uniform_pixels_have_eight_bits(alpha):
    """A logistic base undoes the logit: every image has the density of uniform pixels.

    Over 0..256 that is 8 bits; the range of the transform is wider by the factor 1 / (1 - 2 alpha).
    """
    model = identity_flow(alpha=alpha)
    distribution = tfp.distributions.Logistic(tf.zeros([], tf.float64), tf.ones([], tf.float64))
    model.passes._base = tfp.distributions.Sample(distribution, SHAPE)
    images = random_images(4, SHAPE)
    images[0], images[1] = 0, 255
    for num_draws in (1, 4):
        bits = model.bits_per_dim(images, num_importance_samples=num_draws)
        assert_close(bits, 8 - math.log2(1 - 2 * alpha), 1e-9)


def test_the_constants():
    assert nats_to_bits_per_dim(np.float64(-3072 * math.log(256)), 3072) == pytest.approx(8)
    assert nats_to_bits_per_dim(np.float64(-math.log(2)), 1) == pytest.approx(1)
    assert log_normal(0.0) == pytest.approx(-0.9189385332046727)


def test_the_parts_of_the_identity(identity):
    images = random_images(5, SHAPE)
    y = images + identity.scoring_noise(seed=3)[0].numpy()
    parts = bits_per_dim_parts_of_split(identity, images, batch_size=5, seed=3)
    assert list(parts) == list(identity.part_names) == ["latent", "layer_1", "layer_2", "pixel"]
    expected = (log_normal(logit(y)), np.zeros_like(y), np.zeros_like(y), log_slope(y))
    for part, terms in zip(parts.values(), expected, strict=True):
        assert_close(part, -terms.sum((1, 2, 3)) / (32 * math.log(2)), 1e-9)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_parts_add_up_to_the_whole(frozen):
    model = tiny_flow(dtype="float64", num_scales=2)
    images = random_images(7, SHAPE)
    noise = model.scoring_noise(seed=5)[0]
    asked = model.frozen() if frozen else model
    parts = bits_per_dim_parts_of_split(asked, images, batch_size=7, seed=5)
    assert_close(sum(parts.values()), bits_per_dim_of_split(asked, images, 7, seed=5), 1e-9)
    # Each by another way than the sum: the latents' density, each layer's terms, the pixels' slope.
    nats = {name: -part * 32 * math.log(2) for name, part in parts.items()}
    latents = model.encode(images, seed=5).numpy()
    assert_close(nats["latent"], log_normal(latents).sum((1, 2, 3)), 1e-6)
    for layer, terms in enumerate(model.layer_terms(images, noise), start=1):
        assert np.abs(terms).max() > 0.01
        assert_close(nats[f"layer_{layer}"], terms.numpy().sum((1, 2, 3)), 1e-6)
    assert_close(nats["pixel"], log_slope(images + noise.numpy()).sum((1, 2, 3)), 1e-6)


@pytest.fixture(scope="module")
def pair():
    return tiny_flow(dtype="float64", image_shape=PAIR, num_scales=1)


@pytest.fixture(scope="module")
def pair_images():
    return np.array([[0, 255], [17, 18], [128, 127], [250, 3]], np.uint8).reshape(-1, *PAIR)


@pytest.fixture(scope="module")
def pair_exact(pair, pair_images):
    """`log P(x)`: the density summed over the unit square above each image, by Gauss' rule."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    nodes, weights = (nodes + 1) / 2, weights / 2
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, *PAIR)
    densities = [np.exp(pair.distribution.log_prob(image + grid)) for image in pair_images]
    return np.log(np.array(densities) @ np.outer(weights, weights).ravel())


@pytest.mark.parametrize("num_draws", [2, 8])
def test_a_bound_of_many_draws_is_not_below_the_mean_of_theirs(pair, pair_images, num_draws):
    for seed in range(5):
        draws = np.array(
            [
                pair.latents_and_log_prob(pair_images, noise)[1]
                for noise in pair.scoring_noise(seed, num_draws)
            ]
        )
        bound = pair.log_prob(pair_images, seed, num_draws).numpy()
        assert_close(pair.log_prob(pair_images, seed), draws[0], 1e-9)
        assert_close(bound, np.log(np.exp(draws).mean(0)), 1e-9)
        assert (bound >= draws.mean(0) - 1e-9).all()


def test_bounds_rise_to_the_exact_probability(pair, pair_images, pair_exact):
    means = {
        num_draws: np.mean(
            [pair.log_prob(pair_images, seed, num_draws) for seed in range(400)], axis=0
        )
        for num_draws in (1, 8)
    }
    assert (means[1] < means[8] + 1e-3).all() and (means[8] < pair_exact + 1e-3).all()
    assert np.abs(means[8] - pair_exact).mean() < 0.5 * np.abs(means[1] - pair_exact).mean()
    assert_close(pair.log_prob(pair_images, 0, 20_000), pair_exact, 5e-3)


def test_standard_error():
    assert standard_error(np.array([1.0, 3.0])) == pytest.approx(1.0)
    assert standard_error(np.array([1.0, 2.0, 3.0, 6.0])) == pytest.approx(math.sqrt(14 / 3 / 4))
    assert standard_error(np.array([1.0])) is None


def test_padded_images_are_counted_by_their_own_pixels(identity):
    images = random_images(5, SHAPE)
    whole = bits_per_dim_of_split(identity, images, batch_size=2)
    half = bits_per_dim_of_split(identity, images, batch_size=2, num_dimensions=16)
    assert_close(half, 2 * whole, 1e-12)
    parts = bits_per_dim_parts_of_split(identity, images, batch_size=2, num_dimensions=16)
    assert_close(sum(parts.values()), half, 1e-9)


def test_real_pixels_come_back_as_the_nearest_level():
    model = tiny_flow(real_valued=True)
    images = np.random.default_rng(0).uniform(0, 255, (6, *SHAPE)).astype(np.float32)
    assert count_exact_reconstructions(model, images, batch_size=4) == 6


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A finished run of the command line, but for the training."""
    folder = tmp_path_factory.mktemp("evaluated")
    dataset = commands.write_npz(folder / "images.npz")
    workdir = Workdir(folder / "workdir")
    model = tiny_flow("realnvp", image_shape=commands.SHAPE, num_couplings=3)
    workdir.claim(model.config, lcma_tf.TrainConfig(dataset=dataset, batch_size=3))
    model.save(workdir.model)
    return workdir.path


def evaluated(workdir, **flags):
    ended = commands.call("lcma_tf.evaluate", *commands.as_flags(workdir=workdir, **flags))
    assert ended.code == 0, ended.err
    printed = ended.out.replace("\b", "").replace("\r", "\n").splitlines()
    return [line for line in printed if " +- " in line or line.startswith("  = ")]


def test_evaluate_prints_the_bound_of_one_draw_and_its_parts(workdir):
    whole, parts = evaluated(workdir)
    scores = bits_per_dim_of_split(lcma_tf.load(workdir).frozen(), commands.splits()["test"], 3)
    error = scores.std(ddof=1) / math.sqrt(len(scores))
    assert (
        f"test: {scores.mean():.4f} +- {error:.4f} bits/dim (8 images, 1 noise draw each)" in whole
    )
    names = parts.split()[2::2]
    assert names == ["latent", "layer_1", "layer_2", "pixel"]
    assert sum(map(float, parts.split()[1::2])) == pytest.approx(scores.mean(), abs=3e-4)


def test_evaluate_prints_the_tighter_bound_beside_it(workdir):
    one, _, many = evaluated(workdir, num_importance_samples=16, split="validation")
    assert one.endswith("(8 images, 1 noise draw each)")
    assert many.endswith("(8 images, 16 noise draws each)")
    assert [one] == evaluated(workdir, split="validation")[:1]
    scores = bits_per_dim_of_split(
        lcma_tf.load(workdir).frozen(),
        commands.splits()["validation"],
        3,
        num_importance_samples=16,
    )
    figures = [line.split("validation: ")[1].split()[0] for line in (one, many)]
    assert figures[1] == f"{scores.mean():.4f}" != figures[0]
