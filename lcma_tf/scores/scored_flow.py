"""A flow with a calibration: every score of an image, and where in it is what is strange."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lcma_tf.config import FlowConfig, require_kind
from lcma_tf.model import FlowModel
from lcma_tf.model.density import ImageDensity
from lcma_tf.scores.calibration import Calibration, check_rate
from lcma_tf.scores.measures import Measures
from lcma_tf.scores.table import Known, scores_of
from lcma_tf.traced import traced

__all__ = ["ScoredFlow", "ScoringGraph"]

_WINDOW = 5  # Pixels: the side over which a heat map is averaged.


class ScoringGraph:
    """The scores of images as graphs build them: the same in Python and in an export.

    Args:
        flow: scores with its inference statistics; that of the calibration, or frozen from it.
        factorization, calibration: its own.
    """

    def __init__(self, flow: ImageDensity, factorization, calibration: Calibration):
        self._measures = Measures(flow, factorization, calibration.seed)
        self._calibration = calibration

    @property
    def false_alarm_rate(self) -> float:
        """That of the calibration."""
        return self._calibration.false_alarm_rate

    def scores(
        self, images: tf.Tensor, false_alarm_rate: tf.Tensor | float
    ) -> dict[str, tf.Tensor]:
        """Every score `[N]` of uint8 `images` `[N, H, W, C]`; the rate is a number or `[N]`."""
        return self.both(images, false_alarm_rate)[0]

    def heat_map(self, images: tf.Tensor) -> tf.Tensor:
        """What `ScoredFlow.heat_map` says, float32 `[N, H, W]`, nats."""
        return self._against_mean(self._measures.with_map(images)[1])

    def both(
        self, images: tf.Tensor, false_alarm_rate: tf.Tensor | float
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What `scores` and `heat_map` return, in one pass."""
        measures, nats = self._measures.with_map(images)
        rate = tf.convert_to_tensor(false_alarm_rate, tf.float32)
        return scores_of(Known(measures, self._calibration, rate)), self._against_mean(nats)

    def _against_mean(self, nats):
        short = (self._calibration.mean_map - nats)[..., None]
        return tf.nn.avg_pool2d(short, _WINDOW, 1, "SAME")[..., 0]


class ScoredFlow:
    """A flow that knows what normal images score: `scores` and `heat_map` of others.

    A snapshot of the weights; compiled once for any batch size. Scores are functions of the pixels
    alone, to the tolerance of `FlowModel.log_prob`, whose value under `calibration.seed` is `log_prob`.

    Args:
        model: the flow that was calibrated.
        calibration: made of it by `lcma_tf.calibrate`, or loaded by `lcma_tf.Calibration.load`.
        batch_invariant: one image at a time: see `FlowModel.frozen`.

    Raises:
        CalibrationError: the calibration is that of another flow or of other weights.
        ConfigError: `model` or `calibration` is something else.

    Example:
        ```python
        import numpy as np

        import lcma_tf

        images = np.random.default_rng(0).integers(0, 256, (128, 8, 8, 1), dtype=np.uint8)
        flow = lcma_tf.FlowModel(
            lcma_tf.FlowConfig(
                image_shape=(8, 8, 1), num_scales=1, base_dim=4, num_residual_blocks=1
            )
        )
        scored = lcma_tf.ScoredFlow(flow, lcma_tf.calibrate(flow, images, verbose=False))
        black = np.zeros((1, 8, 8, 1), np.uint8)
        assert scored.scores(black)["is_anomaly"].numpy().tolist() == [True]
        assert scored.heat_map(black).shape == (1, 8, 8)
        ```
    """

    def __init__(self, model: FlowModel, calibration: Calibration, batch_invariant: bool = False):
        require_kind("model", model, FlowModel)
        require_kind("calibration", calibration, Calibration)
        calibration.check_fits(model)
        self.calibration, self.batch_invariant = calibration, batch_invariant
        self._flow = model.frozen(batch_invariant=batch_invariant)
        graph = ScoringGraph(self._flow, model.factorization, calibration)
        signature = [
            tf.TensorSpec([None, *model.config.image_shape], tf.uint8),
            tf.TensorSpec([], tf.float32),
        ]
        self._both = traced(graph.both, input_signature=signature)

    @property
    def config(self) -> FlowConfig:
        """Of the flow."""
        return self._flow.config

    def scores(
        self, images, false_alarm_rate: float | None = None, heat_map: bool = False
    ) -> dict[str, tf.Tensor]:
        """Every score of uint8 `images` `[N, H, W, C]` by name: float32 `[N]`, `is_anomaly` bool `[N]`.

        What each is, is said in `lcma_tf.choices.SCORES` and docs/scores.md.

        Args:
            images: of the flow's shape.
            false_alarm_rate: another one than the calibration's, in (0, 0.5).
            heat_map: with `heat_map`, float32 `[N, H, W]`, nats.

        Raises:
            CalibrationError: a rate outside (0, 0.5).
            ValueError: images of another type or shape.
        """
        rate = self.calibration.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
        check_rate(rate)
        images = self._flow.checked_images(images)
        if images.shape[0] == 0:  # TensorFlow's fused convolutions fail on empty batches.
            found, nats = self._both(np.zeros([1, *images.shape[1:]], np.uint8), rate)
            found, nats = {name: column[:0] for name, column in found.items()}, nats[:0]
        else:
            found, nats = self._both(images, rate)
        return {**found, "heat_map": nats} if heat_map else found

    def heat_map(self, images) -> tf.Tensor:
        """How many nats less likely than usual an image is around each pixel: float32 `[N, H, W]`.

        The nats that a pixel adds to `log_prob`, their mean over the calibration's images at that place
        minus this image's, as a mean over the 5x5 pixels around it: the couplings of a flow tell of a
        pixel by its neighbours, and blame these for it. Above 0 where an image is stranger than usual.
        Arguments and errors as `scores`.
        """
        return self.scores(images, heat_map=True)["heat_map"]
