"""From pixels in [0, 256) to the real line, with the exact Jacobian: bits/dim need no constant."""

from __future__ import annotations

import math
import numbers
from typing import Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.pass_options import PassOptions

__all__ = [
    "LARGEST_PIXEL",
    "PixelLogit",
    "dequantize",
    "one_sided",
    "quantize",
    "two_sided",
]

# Below 256, in float32 too, whose numbers are 2**-16 apart just there.
LARGEST_PIXEL = 256.0 - 2.0**-16
_LARGEST_NOISE = LARGEST_PIXEL - 255.0


def dequantize(images: tf.Tensor, noise: tf.Tensor | float, dtype: tf.DType | str) -> tf.Tensor:
    """`y = x + u`: integer pixels 0..255 to real ones in [0, 256) (Uria et al. 2013).

    Args:
        images: integers 0..255, `[..., H, W, C]`.
        noise: u in [0, 1), broadcast to `images`; capped just below 1 so that no sum rounds to 256.
    """
    return tf.cast(images, dtype) + tf.minimum(tf.cast(noise, dtype), _LARGEST_NOISE)


def quantize(pixels: tf.Tensor) -> tf.Tensor:
    """Real pixels to uint8 ones, the bins of `dequantize`; beyond either end to the last of them."""
    return tf.cast(tf.clip_by_value(tf.floor(pixels), 0, 255), tf.uint8)


class PixelLogit(ImageBijector):
    """Pixels y in [0, 256) to the logit of a number kept away from the ends.

        two_sided   p = alpha + (1 - 2 alpha) y / 256     (the RealNVP program)
        one_sided   p = alpha + (1 - alpha) y / 256       (the text of both papers)
        inverse     x = logit(p)
        forward     y = 256 (sigmoid(x) - alpha) / (1 - 2 alpha), or (1 - alpha)
        log-det     inverse: log(dp/dy) - log p - log(1 - p), dimension by dimension (nats)

    `1 - p` is computed from `256 - y`, which is exact, not from p.

    Pixels are what `dequantize` makes, from 0 up to but not including 256: anything else has no density.
    `inverse` gives it terms of -inf, and an image with such a pixel passes no gradient on, neither
    through x nor through terms. A NaN stays one. `forward` of any real x is defined, with its true
    log-det: far out it leaves [0, 256), by at most 256 alpha / (1 - 2 alpha) on either side, and
    `inverse` leads back.

    Source: Dinh et al. 2016, section 4.1; Das et al. 2019, appendix A. Shapes: `[..., H, W, C]`.

    Args:
        alpha: in (0, 0.5).
        kind: `two_sided` or `one_sided`.

    Raises:
        ValueError: either is out of its range.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        logit = lcma_tf.bijectors.PixelLogit(alpha=0.05)
        pixels = tf.constant([[[0.5], [128.0], [255.5]]])  # [H, W, C]
        x, terms = logit.inverse_and_terms(pixels)
        assert x[0, 1, 0] == 0.0 and tf.reduce_all(tf.math.is_finite(terms))
        ```
    """

    def __init__(
        self,
        alpha: float = 0.05,
        kind: str = "two_sided",
        event_shape: tuple[int, ...] | None = None,
        name: str = "pixel_logit",
    ):
        if not isinstance(alpha, numbers.Real) or not 0 < alpha < 0.5:
            raise ValueError(f"`alpha` must be in (0, 0.5); got {alpha!r}.")
        if kind not in ("two_sided", "one_sided"):
            raise ValueError(f"`kind` must be 'two_sided' or 'one_sided'; got {kind!r}.")
        super().__init__(event_shape, name=name)
        self._low = alpha
        self._high = alpha if kind == "two_sided" else 0.0  # What is left above p at y = 256.
        self._slope = (1.0 - self._low - self._high) / 256.0
        # What `forward` reaches, without the last ten-thousandth, where the logit is infinite.
        above = 256.0 + 0.9999 * self._high / self._slope if self._high else LARGEST_PIXEL
        self._reach = (-0.9999 * self._low / self._slope, above)

    @property
    def changed_positions(self):
        return True

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        outside = (y < 0) | (y >= 256)
        # Twice `where`: what the second hides must be finite for its gradient to be zero.
        far = tf.stop_gradient(tf.clip_by_value(y, *self._reach))
        y = tf.where(tf.reduce_any(outside, [1, 2, 3], keepdims=True), far, y)
        log_p = tf.math.log(self._low + self._slope * y)
        log_1mp = tf.math.log(self._high + self._slope * (256.0 - y))
        terms = math.log(self._slope) - log_p - log_1mp
        return log_p - log_1mp, tf.where(outside, tf.constant(-math.inf, y.dtype), terms)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        # Whichever of p and 1 - p is small is the one to compute with: no digits cancel.
        y = tf.where(
            x < 0,
            (tf.sigmoid(x) - self._low) / self._slope,
            256.0 - (tf.sigmoid(-x) - self._high) / self._slope,
        )
        log_p, log_1mp = tf.math.log_sigmoid(x), tf.math.log_sigmoid(-x)
        return y, log_p + log_1mp - math.log(self._slope)


def two_sided(alpha: float, event_shape: tuple[int, ...]) -> PixelLogit:
    """The pixel transform of that name in `lcma_tf.choices.PIXEL_TRANSFORMS`."""
    return PixelLogit(alpha, "two_sided", event_shape)


def one_sided(alpha: float, event_shape: tuple[int, ...]) -> PixelLogit:
    """The pixel transform of that name in `lcma_tf.choices.PIXEL_TRANSFORMS`."""
    return PixelLogit(alpha, "one_sided", event_shape)
