"""The coupling whose curve is a rational-quadratic spline, the identity at its beginning and far out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.coupling import Conditioner
from lcma_tf.bijectors.curved_coupling import CurvedCoupling

__all__ = ["SplineCoupling"]

_NUM_BINS = 4
# In the units behind the affine map, where values are of the size of the latents.
_BOUND = 3.0
# Float32 has to come back through the spline: where that is all but flat, digits are lost for good. So
# bins are no narrower and no lower than this share of the interval, and slopes at knots in [1/6, 6];
# between knots they are then in [1/2776, 61], whatever a network says.
_MIN_SHARE = 0.03
_MAX_LOG_SLOPE = float(np.log(6.0))


class SplineCoupling(CurvedCoupling):
    """Couples by an affine map, then a monotone rational-quadratic spline inside [-3, 3].

        u = (y + shift) * exp(log_scale)      x = spline(u) where |u| < 3, else u

    In a bin between the knots (u0, x0) and (u1, x1), where the spline has the slopes d0 and d1, with
    s = (x1 - x0) / (u1 - u0) and t = (u - u0) / (u1 - u0):

        spline(u) = x0 + (x1 - x0) (s t^2 + d0 t (1 - t)) / (s + (d0 + d1 - 2 s) t (1 - t))

    which rises from knot to knot with a continuous slope, and is inverted by one quadratic equation: a
    sample costs what a score does. `curve` is 3 * 4 - 1 numbers: widths and heights of 4 bins, shares of
    the interval by a softmax and each at least 0.03, and logarithms of the slopes at the 3 inner knots,
    brought by a tanh into those of [1/6, 6]; at both ends the slope is 1. Zeros give the identity. Each
    changed value is mapped by itself, with finite gradients whatever value and curve are. Log-det terms:
    log_scale + log spline'(u) (nats). Shapes: x, y and terms `[..., h, w, c]`.

    Source: Durkan et al. 2019, "Neural spline flows", section 3.1, equations 4 and 5, and appendix A,
    which has the inverse; after Gregory and Delbourgo 1982. The affine map before it, the bounds of bins
    and slopes, and the tanh are ours.

    Args:
        mask: as in `AffineCoupling`.
        conditioner: `kept, **options -> (shift, log_scale, curve)`, as in `CurvedCoupling`.

    Raises:
        ValueError: as in `CurvedCoupling`.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        mask = lcma_tf.factorization.masks.channel_half((4, 4, 6))
        network = lcma_tf.networks.GlowConditioner(
            3, 3, width=8, num_parameters=lcma_tf.bijectors.SplineCoupling.num_parameters
        )
        coupling = lcma_tf.bijectors.SplineCoupling(mask, network)
        y = tf.random.stateless_normal([5, 4, 4, 6], seed=(0, 1))
        affine = lcma_tf.bijectors.AffineCoupling(mask, lambda kept: network(kept)[:2])
        assert tf.reduce_max(tf.abs(coupling.inverse(y) - affine.inverse(y))) < 1e-5  # A new one.
        ```
    """

    num_parameters = 2 + 3 * _NUM_BINS - 1

    def __init__(self, mask: np.ndarray, conditioner: Conditioner, name: str = "spline_coupling"):
        super().__init__(mask, conditioner, name=name)

    def bend(self, values, curve):
        inside = tf.clip_by_value(values, -_BOUND, _BOUND)
        bins = _bins(inside, curve, by=0)
        t = (inside - bins.u) / bins.width
        result, log_slope = bins.value_and_log_slope(t)
        return _outside_as_it_is(values, result, log_slope)

    def unbend(self, values, curve):
        inside = tf.clip_by_value(values, -_BOUND, _BOUND)
        bins = _bins(inside, curve, by=1)
        t = bins.place_of(inside)
        value, log_slope = bins.value_and_log_slope(t)
        # One step of Newton's, all of which is there: the root has lost two digits near an end of a bin
        # where the spline is far steeper than in the middle.
        result = bins.u + t * bins.width - (value - inside) * tf.exp(-log_slope)
        return _outside_as_it_is(values, result, log_slope)


class _Bins(NamedTuple):
    """The bin that each value is in: its lower corner, its size, its slopes at both ends."""

    u: tf.Tensor
    x: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    slope: tf.Tensor
    next_slope: tf.Tensor

    def value_and_log_slope(self, t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The spline, and the logarithm of its slope, at a share t of the width."""
        mean = self.height / self.width
        both = t * (1 - t)
        below = mean + (self.slope + self.next_slope - 2 * mean) * both
        value = self.x + self.height * (mean * t**2 + self.slope * both) / below
        above = self.next_slope * t**2 + 2 * mean * both + self.slope * (1 - t) ** 2
        return value, 2 * tf.math.log(mean / below) + tf.math.log(above)

    def place_of(self, x: tf.Tensor) -> tf.Tensor:
        """The share t of the width at which the spline is x."""
        mean = self.height / self.width
        risen = x - self.x
        bent = risen * (self.slope + self.next_slope - 2 * mean)
        a = self.height * (mean - self.slope) + bent
        b = self.height * self.slope - bent
        c = -mean * risen
        # Of the two forms of a root the one that is right for a = 0, too, a straight line; b + root is
        # above 0. Rounding may leave a discriminant below 0, which has no root, or at 0, where the root
        # has no gradient.
        tiny = np.finfo(x.dtype.as_numpy_dtype).tiny
        root = tf.sqrt(tf.maximum(b**2 - 4 * a * c, tiny))
        return tf.clip_by_value(-2 * c / (b + root), 0.0, 1.0)


def _bins(values: tf.Tensor, curve: tf.Tensor, by: int) -> _Bins:
    """The bins of values `[N, m]` in [-3, 3] by their knots' places (`by=0`) or heights (`by=1`)."""
    # One op after the other on long rows, no axis of bins: half the time of sums over one-hot rows, and
    # a gather by bins would have a scatter for its gradient.
    knots = _knots(tf.unstack(curve))
    lower, upper = knots[:2]
    for knot, next_knot in itertools.pairwise(knots[1:]):
        passed = values >= knot[by]
        lower = [tf.where(passed, *pair) for pair in zip(knot, lower, strict=True)]
        upper = [tf.where(passed, *pair) for pair in zip(next_knot, upper, strict=True)]
    (u, x, slope), (next_u, next_x, next_slope) = lower, upper
    return _Bins(u, x, next_u - u, next_x - x, slope, next_slope)


def _knots(rows: Sequence[tf.Tensor]) -> Sequence[Sequence[tf.Tensor]]:
    """(place, height, slope) of the K + 1 knots, each `[N, m]`, by the 3 K - 1 rows of a curve."""
    number = (len(rows) + 1) // 3
    ones = tf.ones_like(rows[0])
    inner = [tf.exp(_MAX_LOG_SLOPE * tf.tanh(row / _MAX_LOG_SLOPE)) for row in rows[2 * number :]]
    places = _between_ends(rows[:number]), _between_ends(rows[number : 2 * number])
    return list(zip(*places, [ones, *inner, ones], strict=True))


def _between_ends(rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """From -3 to 3 in K steps, which the K rows decide."""
    largest = tf.stop_gradient(functools.reduce(tf.maximum, rows))
    shares = [tf.exp(row - largest) for row in rows]
    free = 2 * _BOUND * (1 - len(rows) * _MIN_SHARE) / tf.add_n(shares)
    found = [tf.fill(tf.shape(free), tf.constant(-_BOUND, free.dtype))]
    for share in shares[:-1]:
        found.append(found[-1] + (share * free + 2 * _BOUND * _MIN_SHARE))
    return [*found, -found[0]]


def _outside_as_it_is(values, result, log_slope):
    """What was clipped goes through unchanged; its spline, taken at the end, has finite gradients."""
    is_inside = tf.abs(values) < _BOUND
    return tf.where(is_inside, result, values), tf.where(is_inside, log_slope, 0)
