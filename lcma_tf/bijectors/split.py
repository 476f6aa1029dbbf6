"""The multi-scale split: half of the dimensions go on, the other half is done."""

from __future__ import annotations

import numpy as np

from lcma_tf.bijectors.base import tfb
from lcma_tf.bijectors.halves import Halves
from lcma_tf.bijectors.nested import NestedBijector

__all__ = ["LikelihoodContributionSplit"]


class LikelihoodContributionSplit(NestedBijector):
    """Sends half of an image's dimensions through `inner`; the other half exits unchanged.

    The half is chosen once, before training, by a split rule (Das et al. 2019, section 3); here it is
    only a mask. What exits stays where it was, so latents keep the layout of the data; what it is coded
    by, given what stays, is a `ConditionalExit` before.

        forward    y[mask] = inner.forward(x[mask])      y[~mask] = x[~mask]
        inverse    x[mask] = inner.inverse(y[mask])      x[~mask] = y[~mask]
        log-det    the terms of `inner` at mask, 0 elsewhere (nats)

    Shapes: x, y and terms `[..., h, w, c]`; `inner` sees `[..., h/2, w/2, 2c]`, arranged by
    `lcma_tf.factorization.order.kept_order`. Dtype: the input's. `inner` runs once.

    Args:
        mask: bool array `[h, w, c]`, True = goes on through `inner`; exactly half of it True.
        inner: bijector over events `[h/2, w/2, 2c]`; any `tfb.Bijector` is accepted, a foreign one's
            log-det is spread evenly over its dimensions.

    Raises:
        ValueError: `mask` is not three-dimensional bool, of odd size, or not half True, or `inner`
            does not keep the shape of its events.

    Example:
        ```python
        import tensorflow as tf
        import tensorflow_probability as tfp

        import lcma_tf

        rule = lcma_tf.decide_factorization("realnvp", image_shape=(4, 4, 2), num_scales=2)
        split = lcma_tf.bijectors.LikelihoodContributionSplit(
            rule.masks[0], inner=tfp.bijectors.Scale(2.0)
        )
        x = tf.ones([5, 4, 4, 2])
        y, terms = split.forward_and_terms(x)  # y is 2 where the mask is True, else 1.
        assert tf.reduce_sum(y) == 5 * 3 * 16
        ```
    """

    def __init__(self, mask: np.ndarray, inner: tfb.Bijector, name: str = "split"):
        halves = Halves(mask)
        super().__init__(inner, halves.mask.shape, halves.shape, name=name)
        self.mask = halves.mask
        self._halves = halves

    def _enter(self, images):
        return self._halves.part(images)

    def _leave(self, inner, outside):
        return self._halves.join(inner, outside)
