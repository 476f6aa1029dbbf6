"""The pixel transform at both ends, and a density over pixels that integrates to one."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf.bijectors import AffineCoupling, ImageChain, InFlowBatchNorm, PixelLogit, dequantize
from lcma_tf.factorization.masks import checkerboard
from testing import assert_close

every_kind = pytest.mark.parametrize("kind", ["two_sided", "one_sided"])
every_dtype = pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
ALPHA = 0.05


def images(values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def column(values, dtype=tf.float64):
    return tf.reshape(tf.constant(values, dtype), [-1, 1, 1, 1])


def number(value):
    return tf.constant(value, tf.float64)


def slope(kind):
    return (1 - 2 * ALPHA) / 256 if kind == "two_sided" else (1 - ALPHA) / 256


@every_kind
def test_the_formula(kind):
    y = np.array([0.25, 1.0, 100.5, 128.0, 255.0])
    p = ALPHA + slope(kind) * y
    x, terms = PixelLogit(ALPHA, kind).inverse_and_terms(column(y))
    assert_close(tf.reshape(x, [-1]), np.log(p / (1 - p)), 1e-12)
    assert_close(tf.reshape(terms, [-1]), np.log(slope(kind) / (p * (1 - p))), 1e-12)


@every_kind
@every_dtype
def test_both_ends_are_finite_and_come_back(kind, dtype):
    almost_one = np.nextafter(dtype.as_numpy_dtype(1), dtype.as_numpy_dtype(0))
    transform = PixelLogit(ALPHA, kind)
    for value, noise in ((0, 0.0), (0, almost_one), (255, 0.0), (255, almost_one)):
        y = dequantize(images([value]), noise, dtype)
        assert 0 <= y < 256
        x, terms = transform.inverse_and_terms(y)
        assert np.isfinite(x) and np.isfinite(terms)
        again, forward_terms = transform.forward_and_terms(tf.identity(x))
        single = dtype == tf.float32
        assert abs((again - y).numpy().item()) < (1e-4 if single else 1e-11)
        assert_close(forward_terms, -terms, 1e-2 if single else 1e-6)


@every_kind
def test_the_jacobian_at_both_ends(kind):
    y = column([0.0, 1e-3, 255.999, 255.99998474])
    transform = PixelLogit(ALPHA, kind)
    with tf.GradientTape() as tape:
        tape.watch(y)
        x, terms = transform.inverse_and_terms(y)
    assert_close(terms, np.log(tape.gradient(x, y)), 1e-10)


@every_kind
def test_the_top_of_float32_agrees_with_float64(kind):
    # From p in float32 the two would differ in the first digit: 1 - p must come from 256 - y.
    y = np.float32([255.5, 255.99, 256 - 2.0**-16])
    single = PixelLogit(ALPHA, kind).inverse_and_terms(column(y, tf.float32))
    double = PixelLogit(ALPHA, kind).inverse_and_terms(column(y.astype(np.float64)))
    for one, two in zip(single, double, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


@every_dtype
def test_dequantized_pixels_stay_in_their_bin(dtype):
    # All noise that float32 draws can make, from the top down, and the bottom.
    noise = np.concatenate([1 - np.arange(1, 1000) * 2.0**-24, [0.0, 2.0**-24]])
    noise = noise.astype(dtype.as_numpy_dtype).reshape(-1, 1, 1, 1)
    for value in (0, 1, 127, 128, 254, 255):
        y = dequantize(images([value]), noise, dtype).numpy()
        assert y.min() >= value and y.max() < value + 1


@every_kind
def test_every_pixel_value_comes_back_in_float32(kind):
    transform = PixelLogit(ALPHA, kind)
    for noise in (0.001, 0.5, 0.999):
        y = dequantize(images(range(256)), noise, tf.float32)
        again = tf.floor(transform.forward(tf.identity(transform.inverse(y))))
        np.testing.assert_array_equal(tf.reshape(again, [-1]), range(256))


@every_kind
@every_dtype
def test_outside_of_the_range_nothing_has_density(kind, dtype):
    transform = PixelLogit(ALPHA, kind)
    largest = 256 - 2.0**-16
    for value, inside in (
        *((v, True) for v in (0.0, 1e-30, 255.0, largest)),
        *((v, False) for v in (-1e-30, -14.3, -math.inf, 256.0, 270.3, 1e30, math.inf)),
    ):
        # One such pixel beside a usual one.
        y = tf.constant([value, 100.0], dtype)[None, :, None, None]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(y)
            x, terms = transform.inverse_and_terms(y)
        assert np.isfinite(x).all(), value
        assert np.isfinite(terms[:, 1]).all()
        assert (terms[0, 0] == -math.inf) == (not inside), value
        for result in (x, terms):
            gradient = tape.gradient(result, y).numpy()
            assert np.isfinite(gradient).all() and gradient.any() == inside, value


@every_kind
def test_beyond_the_range_the_inverse_leads_back(kind):
    x = column([-9.0, -4.0, 4.0, 9.0])
    transform = PixelLogit(ALPHA, kind)
    y = transform.forward(x)
    assert y[0] < y[1] < 0
    back = transform.inverse(tf.identity(y))
    assert_close(
        back[:2] if kind == "one_sided" else back, x[:2] if kind == "one_sided" else x, 1e-9
    )


def test_a_pixel_that_is_no_number_stays_one():
    x, terms = PixelLogit(ALPHA).inverse_and_terms(column([math.nan]))
    assert np.isnan(x).all() and np.isnan(terms).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, math.nan, "a", None])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be in \(0, 0.5\); got"):
        PixelLogit(alpha)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="`kind` must be 'two_sided' or 'one_sided'; got 'both'"):
        PixelLogit(0.05, "both")


def conditioner(kept, **kwargs):
    total = tf.reduce_sum(kept, axis=[1, 2, 3], keepdims=True) * tf.ones_like(kept)
    return 0.4 * tf.sin(total), 0.7 * tf.tanh(total) - 0.2


@every_kind
def test_a_density_over_pixels_integrates_to_one(kind):
    """Coupling, in-flow batch norm and pixel transform over events of two dimensions, `[1, 2, 1]`.

    Over the pixels, to one but for the latents that `forward` leads beyond them, where it is zero. In
    the logit x the support is all of R**2, so the grid is even there, and the steps in y carry over.
    """
    shape = (1, 2, 1)
    even = checkerboard(shape)
    norm = InFlowBatchNorm(even, "all", dtype=tf.float64)
    norm.moving_mean.assign([0.3])
    norm.moving_variance.assign([0.6])
    pixels = PixelLogit(ALPHA, kind, shape)
    couplings = [AffineCoupling(even, conditioner), norm, AffineCoupling(~even, conditioner)]
    base = tfp.distributions.Sample(
        tfp.distributions.Normal(tf.zeros([], tf.float64), tf.ones([], tf.float64)), shape
    )
    flow = tfp.distributions.TransformedDistribution(base, ImageChain([pixels, *couplings], shape))
    edges = PixelLogit(ALPHA, kind).forward(column(np.linspace(-9, 9, 501))).numpy().ravel()
    centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    first, second = np.meshgrid(centres, centres, indexing="ij")
    y = np.stack([first, second], axis=-1).reshape(-1, *shape)
    density = np.exp(flow.log_prob(tf.constant(y))).reshape(500, 500)
    outside = (y < 0) | (y >= 256)
    assert not density[outside.any(axis=(1, 2, 3)).reshape(500, 500)].any()
    steps = (np.arange(500) + 0.5) / 500
    quantiles = tfp.distributions.Normal(number(0), number(1)).quantile(steps).numpy()
    latents = np.stack(np.meshgrid(quantiles, quantiles), axis=-1).reshape(-1, *shape)
    reached = flow.bijector.forward(tf.constant(latents)).numpy()
    inside = ((reached >= 0) & (reached < 256)).all(axis=(1, 2, 3)).mean()
    assert 0.5 < inside < 0.99
    assert abs(widths @ density @ widths - inside) < 2e-3
