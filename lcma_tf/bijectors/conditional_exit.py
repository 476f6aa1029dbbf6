"""Exits that depend on what stays: the last coupling before a split, by the split's own mask."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.coupling import AffineCoupling, Conditioner
from lcma_tf.bijectors.halves import Halves
from lcma_tf.bijectors.pass_options import PassOptions

__all__ = ["ConditionalExit"]


class ConditionalExit(AffineCoupling):
    """What exits is coded as normal with a mean and deviation that what goes on decides.

        shift, log_scale = conditioner(kept)
        forward    exited' = exited * exp(-log_scale) - shift       kept' = kept
        inverse    exited' = (exited + shift) * exp(log_scale)      kept' = kept
        log-det    inverse: log_scale at the exits, 0 elsewhere; forward: its negative (nats)

    A flow codes the result of `inverse` as N(0, 1); so what came in is N(-shift, exp(-log_scale)), given
    what stays. It is placed before a `LikelihoodContributionSplit` of the same mask, which needs no
    knowledge of it: in the forward direction the split's inner flow has made what stays already. Shapes:
    x, y and terms `[..., h, w, c]`.

    Unlike in any other coupling, the conditioner sees what stays alone, at half the resolution, as the
    next level of the flow does; its answer is arranged likewise (`lcma_tf.factorization.order`).

    Source: the factored-out Gaussians of Kingma and Dhariwal 2018 (Glow's program), section 3.

    Args:
        mask: bool array `[h, w, c]` of the split, True = goes on; exactly half of it True.
        conditioner: as in `AffineCoupling`, from `[N, h/2, w/2, 2c]` to two of this shape.

    Raises:
        ValueError: `mask` is not three-dimensional bool, of odd size, or not half True.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        rule = lcma_tf.decide_factorization("realnvp", image_shape=(4, 4, 1), num_scales=2)
        means = lcma_tf.bijectors.ConditionalExit(
            rule.masks[0], conditioner=lambda kept: (-kept, tf.zeros_like(kept))
        )
        x = means.inverse(tf.fill([5, 4, 4, 1], 7.0))
        assert tf.reduce_sum(x) == 5 * 8 * 7.0  # 7 where it goes on; 0 is left of what exits.
        ```
    """

    def __init__(self, mask: np.ndarray, conditioner: Conditioner, name: str = "conditional_exit"):
        self._halves = Halves(mask)  # Before the rest: what is not built yet is built there.
        super().__init__(mask, conditioner, name=name)

    def _shift_and_log_scale(self, images, **options: Unpack[PassOptions]):
        kept = self._kept(images)
        zeros = tf.zeros_like(kept)
        shift, log_scale = self._conditioner(kept, **options)
        return self._halves.join(zeros, shift), self._halves.join(zeros, log_scale)

    def _kept(self, images):
        return self._halves.part(images)[0]
