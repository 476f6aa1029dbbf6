"""Couplings that do more than scale and shift: an affine map, then a monotone curve."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.coupling import AffineCoupling, Conditioner, places
from lcma_tf.bijectors.pass_options import PassOptions

__all__ = ["CurvedCoupling"]

Bent = tuple[tf.Tensor, tf.Tensor]


class CurvedCoupling(AffineCoupling):
    """Base of couplings that bend, by a curve that a subclass defines, what an affine map gives.

        shift, log_scale, curve = conditioner(kept)
        inverse    u = (y[~mask] + shift) * exp(log_scale)    x[~mask] = bend(u)    x[mask] = y[mask]
        forward    y[~mask] = unbend(x[~mask]) * exp(-log_scale) - shift            y[mask] = x[mask]
        log-det    inverse: log_scale + log bend'(u) at ~mask, 0 elsewhere; forward: its negative (nats)

    Masks, and what the conditioner is given, are those of `AffineCoupling`. Beside (shift, log_scale) it
    returns `curve`, `num_parameters - 2` numbers for each of theirs: `[N, h, w, channels,
    num_parameters - 2]`, of the same channels. A curve of zeros should be the identity: such a coupling
    begins as the affine one. Shapes: x, y and terms `[..., h, w, c]`.

    A subclass sets `num_parameters`, above 2, and defines two methods on the positions that change, of
    `values` `[N, m]` and `curve` `[num_parameters - 2, N, m]`, each returning two of `[N, m]`:

        bend(values, curve) -> bend(u), log bend'(u)         what is increasing in values, for any curve
        unbend(values, curve) -> u, log bend'(u)             its inverse; values are bend(u)

    Args:
        mask: as in `AffineCoupling`.
        conditioner: as there, but for what it returns.

    Raises:
        ValueError: `mask` is no mask that `AffineCoupling` takes; where it is called, a conditioner
            returned another number of parameters.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf


        class Bulge(lcma_tf.bijectors.CurvedCoupling):
            num_parameters = 3

            def bend(self, values, curve):
                slope = tf.where(values > 0, tf.exp(curve[0]), tf.ones_like(values))
                return values * slope, tf.math.log(slope)

            def unbend(self, values, curve):
                slope = tf.where(values > 0, tf.exp(curve[0]), tf.ones_like(values))
                return values / slope, tf.math.log(slope)


        mask = lcma_tf.factorization.masks.checkerboard((4, 4, 1))
        coupling = Bulge(mask, lambda kept: (0 * kept, 0 * kept, tf.ones_like(kept)[..., None]))
        x = coupling.inverse(tf.ones([5, 4, 4, 1]))
        assert tf.reduce_all(tf.boolean_mask(x, ~mask, axis=1) == tf.exp(1.0))
        ```
    """

    num_parameters: int

    def __init__(self, mask: np.ndarray, conditioner: Conditioner, name: str = "curved_coupling"):
        super().__init__(mask, conditioner, name=name)
        flat = self.mask.ravel()
        self._indices = np.flatnonzero(~flat).astype(np.int32)
        self._place = places(flat)

    def bend(self, values: tf.Tensor, curve: tf.Tensor) -> Bent:
        """The curve, and the logarithm of its slope, from data to latents."""
        raise NotImplementedError

    def unbend(self, values: tf.Tensor, curve: tf.Tensor) -> Bent:
        """The inverse of the curve, and the logarithm of the slope of `bend` at what it returns."""
        raise NotImplementedError

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        shift, log_scale, curve = self._shift_scale_curve(x, **options)
        values, log_slope = self._at_changed(self.unbend, x, curve)
        return values * tf.exp(-log_scale) - shift, -log_scale - log_slope

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        shift, log_scale, curve = self._shift_scale_curve(y, **options)
        values, log_slope = self._at_changed(self.bend, (y + shift) * tf.exp(log_scale), curve)
        return values, log_scale + log_slope

    def _shift_scale_curve(self, images, **options: Unpack[PassOptions]):
        """Shift and log-scale over the whole image, and the curves of what changes, `[n, N, m]`."""
        found = self._conditioner(self._kept(images), **options)
        number = self.num_parameters - 2
        if len(found) != 3 or found[2].shape[-1] != number or found[2].shape.rank != 5:
            raise ValueError(
                f"{self.name}: `conditioner` must return (shift, log_scale, curve), the last of shape "
                f"[N, h, w, channels, {number}]; got {len(found)} of shapes "
                f"{[tuple(part.shape) for part in found]}."
            )
        shift, log_scale, curve = found
        size = self._indices.size if self._selects_channels else self.mask.size
        rows = tf.reshape(curve, [-1, size, number])
        if not self._selects_channels:
            rows = _take_rows(rows, self._indices, self._place)
        # One number of all positions after the other: curves are arithmetic on long rows.
        return *self._over_image(shift, log_scale), tf.transpose(rows, [2, 0, 1])

    def _at_changed(self, function, image, curve):
        """`function` at what changes; all else is as it was, with a log-slope of 0."""
        rows = tf.reshape(image, [-1, self.mask.size])
        results = function(_take_rows(rows, self._indices, self._place), curve)
        values, log_slope = (
            tf.reshape(_put_rows(result, self._indices, self._place), tf.shape(image))
            for result in results
        )
        return tf.where(self.mask, image, values), log_slope


# The gradient of a gather is a scatter, slow and sparse; that of each of these two is the other.
def _take_rows(rows: tf.Tensor, indices: np.ndarray, place: np.ndarray) -> tf.Tensor:
    """`rows[:, indices]`."""

    @tf.custom_gradient
    def take(rows):
        return tf.gather(rows, indices, axis=1), lambda grad: _put_rows(grad, indices, place)

    return take(rows)


def _put_rows(rows: tf.Tensor, indices: np.ndarray, place: np.ndarray) -> tf.Tensor:
    """Its inverse: zeros where nothing was taken."""

    @tf.custom_gradient
    def put(rows):
        padding = [[0, 0], [0, 1], *[[0, 0]] * (rows.shape.rank - 2)]
        result = tf.gather(tf.pad(rows, padding), place, axis=1)
        return result, lambda grad: _take_rows(grad, indices, place)

    return put(rows)
