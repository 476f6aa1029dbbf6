"""The multi-scale split: half of the dimensions go on, the other half is done."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.base import tfb
from lcma_tf.bijectors.checked_mask import checked_mask
from lcma_tf.bijectors.nested import NestedBijector
from lcma_tf.factorization.order import exited_order, kept_order

__all__ = ["LikelihoodContributionSplit"]


class LikelihoodContributionSplit(NestedBijector):
    """Sends half of an image's dimensions through `inner`; the other half exits unchanged.

    The half is chosen once, before training, by a split rule (Das et al. 2019, section 3); here it is
    only a mask. What exits stays where it was, so latents keep the layout of the data.

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
        mask = checked_mask(mask)
        height, width, channels = mask.shape
        if height % 2 or width % 2 or 2 * np.count_nonzero(mask) != mask.size:
            raise ValueError(
                "`mask` must have even height and width and be half True; "
                f"got shape {mask.shape} with {np.count_nonzero(mask)} of {mask.size} True."
            )
        super().__init__(inner, mask.shape, (height // 2, width // 2, 2 * channels), name=name)
        self.mask = mask.copy()
        self.mask.setflags(write=False)
        order = np.concatenate([kept_order(mask), exited_order(mask)])
        self._order = order.astype(np.int32)
        self._place = np.argsort(order).astype(np.int32)  # The inverse permutation.

    def _enter(self, images):
        flat = tf.reshape(images, [-1, self.mask.size])
        kept, exited = tf.split(_permute(flat, self._order, self._place), 2, axis=1)
        height, width, channels = self.mask.shape
        return tf.reshape(kept, [-1, height // 2, width // 2, 2 * channels]), exited

    def _leave(self, inner, outside):
        flat = tf.concat([tf.reshape(inner, [-1, self.mask.size // 2]), outside], axis=1)
        return tf.reshape(_permute(flat, self._place, self._order), [-1, *self.mask.shape])


def _permute(flat: tf.Tensor, order: np.ndarray, place: np.ndarray) -> tf.Tensor:
    """`flat[:, order]`, where `place` is the inverse permutation.

    The gradient of a gather is a scatter, slow and sparse; that of a permutation is a gather again.
    """

    @tf.custom_gradient
    def permute(values):
        return tf.gather(values, order, axis=1), lambda grad: _permute(grad, place, order)

    return permute(flat)
