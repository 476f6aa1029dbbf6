"""Any bijector of any shape, mask, nesting and dtype inverts, and states the log-det of its Jacobian.

What `bijectors_test.py` holds for a table of cases, Hypothesis tries for whatever can be built. It draws
the same examples on every machine.
"""

from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from bijector_cases import coupling, curved, tfb
from lcma_tf import bijectors
from testing import TOLERANCE, assert_close, difference_jacobian, log_abs_det, random_whitening

seeds = st.integers(0, 2**16)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
even_shapes = st.tuples(st.sampled_from([2, 4]), st.sampled_from([2, 4]), st.integers(1, 2))
batch_shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


class Recipe(NamedTuple):
    """How to make a bijector in either dtype, and what it maps."""

    make: object  # dtype -> bijector
    data_shape: tuple
    latent_shape: tuple
    pixels: bool = False


def same(make, shape):
    return Recipe(make, shape, shape)


def share_of(draw, size, least, most):
    """`size` booleans, between `least` and `most` of them True, anywhere."""
    number = draw(st.integers(least, most))
    return np.random.default_rng(draw(seeds)).permutation(np.arange(size) < number)


@st.composite
def pixel_couplings(draw, shape=None, make=coupling):
    shape = shape or draw(shapes.filter(lambda shape: np.prod(shape) > 1))
    size = int(np.prod(shape))
    mask = share_of(draw, size, 1, size - 1).reshape(shape)
    hypothesis.assume(not (mask == mask[:1, :1]).all())  # That one selects channels.
    return same(lambda dtype: make(mask), shape)


@st.composite
def channel_couplings(draw, shape=None, make=coupling):
    shape = shape or draw(shapes.filter(lambda shape: shape[-1] > 1))
    kept = share_of(draw, shape[-1], 1, shape[-1] - 1)
    mask = np.broadcast_to(kept, shape)
    return same(lambda dtype: make(mask, by_channel=True), shape)


@st.composite
def norms(draw, shape=None):
    shape = shape or draw(shapes)
    size = int(np.prod(shape))
    mask = share_of(draw, size, 0, size - 1).reshape(shape)
    moments, epsilon = draw(st.sampled_from(["changed", "all"])), draw(st.sampled_from([1e-4, 0.1]))
    rng = np.random.default_rng(draw(seeds))
    mean, variance = rng.normal(size=shape[-1]), 10 ** rng.uniform(-0.5, 0.5, shape[-1])

    def make(dtype):
        norm = bijectors.InFlowBatchNorm(mask, moments, epsilon=epsilon, dtype=dtype)
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)
        return norm

    return same(make, shape)


def curve(dtype):
    """Not linear, and tame however often it is applied."""
    return tfb.SinhArcsinh(np.asarray(0.3, dtype), np.asarray(1.2, dtype))


@st.composite
def foreign(draw, shape=None):
    shape = shape or draw(shapes)
    rng = np.random.default_rng(draw(seeds))
    factors = rng.uniform(0.5, 2.0, shape) * rng.choice([-1, 1], shape)
    return same(
        lambda dtype: bijectors.ForeignBijector(
            tfb.Chain([tfb.Scale(factors.astype(dtype)), curve(dtype)]), shape
        ),
        shape,
    )


@st.composite
def squeezes(draw):
    height, width, channels = shape = draw(even_shapes)
    squeezed = (height // 2, width // 2, 4 * channels)
    return Recipe(lambda dtype: bijectors.Squeeze(shape), squeezed, shape)


@st.composite
def pixel_logits(draw):
    shape, alpha = draw(shapes), draw(st.floats(0.001, 0.499))
    kind = draw(st.sampled_from(["two_sided", "one_sided"]))
    return Recipe(lambda dtype: bijectors.PixelLogit(alpha, kind, shape), shape, shape, pixels=True)


@st.composite
def whitenings(draw, shape=None):
    shape = shape or draw(shapes)
    whitening = random_whitening(shape[-1], draw(st.integers(1, 3)), draw(seeds))
    return same(lambda dtype: bijectors.CausalWhitening(whitening, shape), shape)


@st.composite
def squeezed(draw, shape=None, depth=1):
    height, width, channels = shape = shape or draw(even_shapes)
    inner = draw(any_over((height // 2, width // 2, 4 * channels), depth))
    return same(lambda dtype: bijectors.Squeezed(inner.make(dtype), shape), shape)


@st.composite
def splits(draw, shape=None, depth=1):
    height, width, channels = shape = shape or draw(even_shapes)
    size = int(np.prod(shape))
    mask = share_of(draw, size, size // 2, size // 2).reshape(shape)
    inner = draw(any_over((height // 2, width // 2, 2 * channels), depth))
    return same(lambda dtype: bijectors.LikelihoodContributionSplit(mask, inner.make(dtype)), shape)


@st.composite
def chains(draw, shape=None, depth=1):
    shape = shape or draw(shapes)
    parts = draw(st.lists(any_over(shape, depth), min_size=1, max_size=3))
    return same(
        lambda dtype: bijectors.ImageChain([part.make(dtype) for part in parts], shape), shape
    )


@st.composite
def flow_layers(draw, shape=None, depth=1):
    shape = shape or draw(even_shapes)
    layer = draw(any_over(shape, depth))
    rest = draw(st.none() | splits(shape, depth) | squeezed(shape, depth))
    return same(
        lambda dtype: bijectors.FlowLayer(layer.make(dtype), rest and rest.make(dtype), shape),
        shape,
    )


def any_over(shape, depth):
    """Any bijector over events `shape`, nested at most `depth` deep."""
    height, width, channels = shape
    kinds = [norms(shape), foreign(shape), whitenings(shape)]
    if height * width > 1:
        kinds.append(pixel_couplings(shape))
    if channels > 1:
        kinds.append(channel_couplings(shape))
    if depth:
        kinds.append(chains(shape, depth - 1))
    if depth and height % 2 == width % 2 == 0:
        kinds += [kind(shape, depth - 1) for kind in (squeezed, splits, flow_layers)]
    return st.one_of(kinds)


KINDS = {
    "pixel coupling": pixel_couplings(),
    "channel coupling": channel_couplings(),
    "pixel coupling by splines": pixel_couplings(make=curved),
    "channel coupling by splines": channel_couplings(make=curved),
    "batch norm": norms(),
    "foreign": foreign(),
    "squeeze": squeezes(),
    "pixel logit": pixel_logits(),
    "whitening": whitenings(),
    "squeezed": squeezed(),
    "split": splits(),
    "chain": chains(),
    "flow layer": flow_layers(depth=2),
}


def values(recipe, batch_shape, dtype, seed):
    """Latents and data of a recipe, in this batch shape."""
    rng = np.random.default_rng(seed)
    size = (*batch_shape, *recipe.data_shape)
    if recipe.pixels:  # Outside there is no density, in whichever direction one comes.
        first, data = rng.uniform(0.5, 255.5, (2, *size))
        latents = recipe.make("float64").inverse(first)
    else:
        latents = rng.normal(size=(*batch_shape, *recipe.latent_shape))
        data = rng.normal(size=size)
    return tf.cast(latents, dtype), tf.constant(data, dtype)


def check_maps(recipe, batch_shape, dtype, seed):
    """Round trips, types, shapes, and that both directions and the sums of the terms agree."""
    bijector, tolerance = recipe.make(dtype), 5 * TOLERANCE[dtype]
    latents, data = values(recipe, batch_shape, dtype, seed)
    for there, back, value in (
        (bijector.forward_and_terms, bijector.inverse_and_terms, latents),
        (bijector.inverse_and_terms, bijector.forward_and_terms, data),
    ):
        image, terms = there(value)
        again, terms_back = back(image)
        assert image.dtype == terms.dtype == again.dtype == dtype
        assert again.shape == value.shape and terms.shape == image.shape
        assert image.shape[: len(batch_shape)] == batch_shape
        assert_close(again, value, tolerance)
        sums = [np.sum(t, (-3, -2, -1), dtype=np.float64) for t in (terms, terms_back)]
        assert_close(sums[0], -sums[1], 10 * tolerance)
    log_det = bijector.forward_log_det_jacobian(latents, event_ndims=3)
    _, terms = bijector.forward_and_terms(latents)
    assert_close(np.broadcast_to(log_det, batch_shape), np.sum(terms, (-3, -2, -1)), tolerance)
    # Through new tensors: TFP answers from memory where it can.
    forward, inverse = bijector.forward(tf.identity(latents)), bijector.inverse(tf.identity(data))
    assert_close(bijector.inverse(tf.identity(forward)), latents, tolerance)
    assert_close(bijector.forward(tf.identity(inverse)), data, tolerance)


def check_log_dets(recipe, seed):
    """Against the whole Jacobian, by central differences in float64."""
    bijector = recipe.make("float64")
    latents, data = values(recipe, (), "float64", seed)
    for function, log_det, value in (
        (bijector.forward, bijector.forward_log_det_jacobian, latents),
        (bijector.inverse, bijector.inverse_log_det_jacobian, data),
    ):
        numerical = log_abs_det(difference_jacobian(function, value))
        assert_close(log_det(tf.identity(value), event_ndims=3), numerical, 1e-5)


@pytest.mark.parametrize("recipes", KINDS.values(), ids=KINDS.keys())
def test_any(recipes, at_length):
    @hypothesis.settings(
        max_examples=at_length(12, 2_000),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(recipes, batch_shapes, st.sampled_from(["float32", "float64"]), seeds)
    def check(recipe, batch_shape, dtype, seed):
        check_maps(recipe, batch_shape, dtype, seed)
        check_log_dets(recipe, seed)

    check()
