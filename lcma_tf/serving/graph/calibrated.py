"""The signatures that a calibration adds to an export: every score, and the places of strange pixels."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from lcma_tf.model.graph_checks import after, finite
from lcma_tf.scores.scored_flow import ScoringGraph
from lcma_tf.serving.graph.checked import checked_rows, concrete
from lcma_tf.serving.graph.encoded_images import FILE_CHANNELS, decode_images

__all__ = ["CalibratedGraph"]


class CalibratedGraph:
    """Traces these signatures; what they are is said at `lcma_tf.serving.graph.signatures.ServingFlow`.

    Args:
        scoring: the flow with its calibration.
        image_shape: `(H, W, C)`.
        max_batch_size, jpeg_method: as there.
    """

    def __init__(
        self,
        scoring: ScoringGraph,
        image_shape: tuple[int, ...],
        max_batch_size: int,
        jpeg_method: str,
    ):
        self._scoring = scoring
        self._shape = image_shape
        self._jpeg_method = jpeg_method
        self._checked = functools.partial(checked_rows, max_batch_size)

    def signatures(self) -> dict[str, Any]:
        """Concrete functions by name."""
        images = tf.TensorSpec([None, *self._shape], tf.uint8)
        rates = tf.TensorSpec([None], tf.float32)
        signatures = {
            "scores": concrete(self._scores, images=images),
            "scores_at_rate": concrete(self._scores_at_rate, images=images, false_alarm_rate=rates),
            "heat_map": concrete(self._heat_map, images=images),
        }
        if self._shape[-1] in FILE_CHANNELS:
            signatures["scores_encoded"] = concrete(
                self._scores_encoded, image_bytes=tf.TensorSpec([None], tf.string)
            )
        return signatures

    def _scores(self, images):
        (images,) = self._checked(images=(images, self._shape))
        return self._all_scores(images, self._scoring.false_alarm_rate)

    def _scores_encoded(self, image_bytes):
        (image_bytes,) = self._checked(image_bytes=(image_bytes, ()))
        images = decode_images(image_bytes, self._shape, self._jpeg_method)
        return self._all_scores(images, self._scoring.false_alarm_rate)

    def _scores_at_rate(self, images, false_alarm_rate):
        images, rate = self._checked(
            images=(images, self._shape), false_alarm_rate=(false_alarm_rate, ())
        )
        valid = tf.reduce_all((rate > 0) & (rate < 0.5))  # A comparison with NaN is false.
        message = "false_alarm_rate: must be between 0 and 0.5"
        (rate,) = after([tf.debugging.Assert(valid, [message, rate])], rate)
        return self._all_scores(images, rate)

    def _all_scores(self, images, rate):
        scores = self._scoring.scores(images, rate)
        log_prob = finite(scores["log_prob"], "images: an image has no finite score")
        return {**scores, "log_prob": log_prob}

    def _heat_map(self, images):
        (images,) = self._checked(images=(images, self._shape))
        nats = self._scoring.heat_map(images)
        return {"heat_map": finite(nats, "images: an image has no finite score")}
