"""The spline against another implementation, at its knots and ends, and for curves without measure."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from bijector_cases import EVEN, HALF, conditioner
from lcma_tf.bijectors import AffineCoupling, CurvedCoupling, SplineCoupling
from lcma_tf.factorization.masks import checkerboard
from testing import assert_close

NUMBER = SplineCoupling.num_parameters - 2
BINS = (NUMBER + 1) // 3
SPLINE = SplineCoupling(checkerboard((1, 2, 1)), lambda kept: None)  # For its two methods.


def curves(rows, spread, dtype="float64", seed=0):
    """`[NUMBER, 1, rows]`."""
    return tf.constant(
        np.random.default_rng(seed).normal(scale=spread, size=(NUMBER, 1, rows)), dtype
    )


def reference(curve):
    """TensorFlow Probability's spline of these parameters; what is shared is the definition alone."""
    widths, heights, slopes = np.split(np.moveaxis(curve, 0, -1), [BINS, 2 * BINS], axis=-1)

    def sizes(raw):
        return 6 * (0.03 + (1 - BINS * 0.03) * tf.nn.softmax(raw))

    slopes = 6 ** np.tanh(slopes / np.log(6))
    return tfp.bijectors.RationalQuadraticSpline(sizes(widths), sizes(heights), slopes, -3.0)


def test_it_is_that_of_tensorflow_probability():
    curve = curves(400, 2.0)
    u = tf.constant(np.random.default_rng(1).uniform(-4, 4, (1, 400)))
    theirs = reference(curve)
    x, log_slope = SPLINE.bend(u, curve)
    assert_close(x, theirs.forward(u), 1e-9)
    assert_close(log_slope, theirs.forward_log_det_jacobian(u, event_ndims=0), 1e-9)
    again, same = SPLINE.unbend(tf.identity(x), curve)
    assert_close(again, u, 1e-9)
    assert_close(same, log_slope, 1e-7)


def test_zeros_are_the_identity():
    u = tf.constant(np.linspace(-5, 5, 1001)[None], tf.float32)
    for function in (SPLINE.bend, SPLINE.unbend):
        value, log_slope = function(u, tf.zeros([NUMBER, 1, 1001]))
        assert_close(value, u, 1e-6)
        assert_close(log_slope, 0, 1e-6)


def test_at_both_ends_and_beyond_it_is_the_identity():
    u = tf.constant([[-1e30, -100.0, -3.0, 3.0, 100.0, 1e30]])
    for spread in (0.5, 50.0):
        value, log_slope = SPLINE.bend(u, curves(6, spread, "float32"))
        np.testing.assert_array_equal(value, u)
        np.testing.assert_array_equal(log_slope, 0)


def test_it_rises_everywhere():
    u = tf.constant(np.linspace(-3.5, 3.5, 5001)[None], tf.float32)
    curve = tf.repeat(curves(1, 3.0, "float32", seed=4), 5001, axis=-1)
    value, log_slope = SPLINE.bend(u, curve)
    assert np.all(np.diff(value[0]) >= 0)
    inner = np.diff(value[0]) / np.diff(u[0])
    assert_close(np.mean(np.exp(log_slope)), np.mean(inner), 0.01)


def test_its_slope_has_bounds_whatever_the_curve_is():
    """What a round trip in float32 may lose: the comment beside the constants names both."""
    rng = np.random.default_rng(1)
    curve = tf.constant(rng.choice([-60.0, 60.0], size=(NUMBER, 1, 20_000)))
    slopes = [
        np.exp(SPLINE.bend(tf.fill([1, 20_000], tf.constant(u, tf.float64)), curve)[1])
        for u in np.linspace(-3, 3, 301)
    ]
    assert 1 / 2776 < np.min(slopes) < 1 / 2700 and 55 < np.max(slopes) < 61


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0, 100.0])
@pytest.mark.parametrize("function", ["bend", "unbend"])
def test_values_and_gradients_are_finite_for_all_values_and_curves(function, spread):
    """At 0, at the ends and just beside them, far out, and at the knots of equal bins."""
    ends = np.float32(3) * (1 + np.array([-1e-7, 0, 1e-7, 1e3, 1e20]))
    values = np.concatenate([ends, -ends, np.linspace(-3, 3, BINS + 1), np.linspace(-4, 4, 100)])
    values = tf.constant(np.tile(values, 20)[None], tf.float32)
    curve = curves(values.shape[1], spread, "float32")
    with tf.GradientTape() as tape:
        tape.watch([values, curve])
        results = getattr(SPLINE, function)(values, curve)
    for found in (*results, *tape.gradient(results, [values, curve])):
        assert np.all(np.isfinite(found))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_comes_back(dtype):
    tolerance = {"float32": 1e-4, "float64": 1e-10}[dtype]
    u = tf.constant(np.random.default_rng(1).normal(size=(1, 20_000)), dtype)
    curve = curves(20_000, 1.0, dtype)
    x, _ = SPLINE.bend(u, curve)
    assert_close(SPLINE.unbend(x, curve)[0], u, tolerance)
    u, _ = SPLINE.unbend(x, curve)
    assert_close(SPLINE.bend(u, curve)[0], x, tolerance)


@pytest.mark.parametrize("spread", [3.0, 20.0])
def test_the_wildest_curves_come_back_as_far_as_their_slopes_let_them(spread):
    """A last digit of u is 60 of x at the steepest; the root alone is off by ten times as much."""
    x = tf.constant(np.random.default_rng(1).normal(size=(1, 100_000)), tf.float32)
    curve = curves(100_000, spread, "float32")
    u, log_slope = SPLINE.unbend(x, curve)
    again, same = SPLINE.bend(tf.identity(u), curve)
    assert_close(again, x, 1.5e-5)
    assert_close(same, log_slope, 2e-3)
    exact = SPLINE.bend(*(tf.cast(part, tf.float64) for part in (u, curve)))
    assert_close(exact[0], x, 1e-4)
    assert_close(exact[1], log_slope, 5e-3)


def answers(mask, *, number=NUMBER, spread=0.0):
    kept = mask.shape[-1] if mask is EVEN else int(mask[0, 0].sum())
    channels = mask.shape[-1] if mask is EVEN else mask.shape[-1] - kept
    affine = conditioner(kept, channels)

    def run(kept, **kwargs):
        shift, log_scale = affine(kept)
        return shift, log_scale, spread * tf.ones([*shift.shape, number], shift.dtype)

    return run


@pytest.mark.parametrize("mask", [EVEN, HALF], ids=["pixels", "channels"])
def test_with_a_curve_of_zeros_it_is_the_affine_coupling(mask):
    ours = SplineCoupling(mask, answers(mask))
    affine = AffineCoupling(mask, lambda kept, **kwargs: answers(mask)(kept)[:2])
    y = tf.constant(np.random.default_rng(0).normal(size=(3, *mask.shape)))
    for actual, value in zip(ours.inverse_and_terms(y), affine.inverse_and_terms(y), strict=True):
        assert_close(actual, value, 1e-12)
    np.testing.assert_array_equal(ours.changed_positions, ~mask)
    np.testing.assert_array_equal(ours.inverse(y).numpy()[:, mask], y.numpy()[:, mask])


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (conditioner(2, 2), r"got 2 of shapes \[\(3, 4, 4, 2\), \(3, 4, 4, 2\)\]"),
        (answers(EVEN, number=7), r"got 3 of shapes .*\(3, 4, 4, 2, 7\)\]"),
    ],
)
def test_another_number_of_parameters_is_refused(network, found):
    coupling = SplineCoupling(EVEN, network, name="mine")
    rule = rf"mine: `conditioner` must return .* \[N, h, w, channels, {NUMBER}\]; {found}"
    for function in (coupling.inverse, coupling.forward):
        with pytest.raises(ValueError, match=rule):
            function(tf.zeros([3, *EVEN.shape]))


def test_a_curve_has_to_be_defined():
    class Without(CurvedCoupling):
        num_parameters = NUMBER + 2

    with pytest.raises(NotImplementedError):
        Without(EVEN, answers(EVEN)).inverse(tf.zeros([3, *EVEN.shape]))
