"""What the conditioners of a frozen flow have in common: they are called as those that are trained."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["InferenceOnly"]


class InferenceOnly(tf.Module):
    """A conditioner with the weights of one moment. A subclass defines `_shift_and_log_scale(kept)`.

    Call arguments and output: as those of the conditioner that it is a copy of.

    Raises:
        ValueError: `training=True`.
    """

    def __call__(self, kept, training=False, momentum=0.9, weight=None):
        if training:
            raise ValueError(f"{self.name}: a frozen conditioner has no training mode.")
        return self._shift_and_log_scale(kept)

    def _shift_and_log_scale(self, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        raise NotImplementedError
