"""The distribution of a flow over pixels: nothing outside of their range has density or is drawn."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf.bijectors import LARGEST_PIXEL

__all__ = ["PixelDistribution"]

tfb, tfd = tfp.bijectors, tfp.distributions


class PixelDistribution(tfd.TransformedDistribution):
    """`tfd.TransformedDistribution` over images whose pixels are real numbers in [0, 256).

    A flow that ends in a `PixelLogit` reaches a little beyond 0 and 256 (its alpha keeps the logit
    finite at both ends). There `log_prob` is -inf, with a zero gradient, and inside it is the flow's
    own: the density is cut off, not renormalized, since how much of it lies outside is known by
    sampling alone. What it gives to images is therefore a lower bound of what a renormalized one would.

    Draws are brought into the range, pixel by pixel: one beyond an end is put there (at 0, or at the
    largest float32 below 256). `experimental_sample_and_log_prob` tells `log_prob` of the image that it
    returns. Its networks run once, and once more if one of the draws had to be brought in.

    `distribution.copy(distribution=base)` is the same flow over another base.

    Args: those of `tfd.TransformedDistribution`: a base over latents `[H, W, C]`, and a bijector to
    pixels that gives none outside a density, such as a chain that begins with a `PixelLogit`.
    """

    def _call_sample_n(self, sample_shape, seed, **kwargs):
        return _within_range(super()._call_sample_n(sample_shape, seed, **kwargs))

    def _sample_and_log_prob(self, sample_shape, seed, **kwargs):
        drawn, log_prob = super()._sample_and_log_prob(sample_shape, seed, **kwargs)
        pixels = _within_range(drawn)
        log_prob = tf.cond(
            tf.reduce_any(pixels != drawn),
            # The identity: what the branch computes must not be cached as if it were always there.
            lambda: self._log_prob(tf.identity(pixels), **kwargs),
            lambda: log_prob,
        )
        return pixels, log_prob

    def _default_event_space_bijector(self):
        """Real numbers to pixels: what optimizers and samplers of TFP work in."""
        return tfb.Sigmoid(
            low=tf.zeros([], self.dtype), high=tf.constant(LARGEST_PIXEL, self.dtype)
        )


def _within_range(pixels: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(pixels, 0.0, LARGEST_PIXEL)
