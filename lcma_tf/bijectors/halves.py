"""The two halves of a split: what goes on, as the next level sees it, and what exits, likewise."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.checked_mask import checked_mask
from lcma_tf.factorization.order import exited_order, kept_order

__all__ = ["Halves"]


class Halves:
    """Takes images apart by a split's mask, and puts them together again.

    Args:
        mask: bool array `[h, w, c]`, True = goes on; exactly half of it True.

    Attributes:
        mask: a copy that nobody can write to.
        shape: `(h/2, w/2, 2c)`, of either half, arranged by `lcma_tf.factorization.order`.

    Raises:
        ValueError: `mask` is not three-dimensional bool, of odd size, or not half True.
    """

    def __init__(self, mask: np.ndarray):
        mask = checked_mask(mask)
        height, width, channels = mask.shape
        if height % 2 or width % 2 or 2 * np.count_nonzero(mask) != mask.size:
            raise ValueError(
                "`mask` must have even height and width and be half True; "
                f"got shape {mask.shape} with {np.count_nonzero(mask)} of {mask.size} True."
            )
        self.mask = mask.copy()
        self.mask.setflags(write=False)
        self.shape = (height // 2, width // 2, 2 * channels)
        order = np.concatenate([kept_order(mask), exited_order(mask)])
        self._order = order.astype(np.int32)
        self._place = np.argsort(order).astype(np.int32)  # The inverse permutation.

    def part(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[N, h, w, c]` -> (what goes on, what exits), each `[N, h/2, w/2, 2c]`."""
        flat = tf.reshape(images, [-1, self.mask.size])
        kept, exited = tf.split(_permute(flat, self._order, self._place), 2, axis=1)
        return tf.reshape(kept, [-1, *self.shape]), tf.reshape(exited, [-1, *self.shape])

    def join(self, kept: tf.Tensor, exited: tf.Tensor) -> tf.Tensor:
        """The inverse of `part`."""
        size = self.mask.size // 2
        flat = tf.concat([tf.reshape(half, [-1, size]) for half in (kept, exited)], axis=1)
        return tf.reshape(_permute(flat, self._place, self._order), [-1, *self.mask.shape])


def _permute(flat: tf.Tensor, order: np.ndarray, place: np.ndarray) -> tf.Tensor:
    """`flat[:, order]`, where `place` is the inverse permutation.

    The gradient of a gather is a scatter, slow and sparse; that of a permutation is a gather again.
    """

    @tf.custom_gradient
    def permute(values):
        return tf.gather(values, order, axis=1), lambda grad: _permute(grad, place, order)

    return permute(flat)
