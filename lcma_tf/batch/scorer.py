"""What scores a batch, and all that is to be known of it: a flow here, an export in `export_scorer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from lcma_tf.choices import SCORES
from lcma_tf.scores.scored_flow import ScoredFlow

__all__ = ["ScoredRow", "Scorer", "Values", "flow_scorer"]

Values = Mapping[str, np.ndarray]
ScoredRow = tuple[tuple[Any, ...] | None, str]  # Its scores, and why it has none.
_NOT_FINITE = "its scores are not finite"


@dataclasses.dataclass(frozen=True)
class Scorer:
    """A function of images, and what tells its scores from those of another.

    Args:
        scores: uint8 `[N, H, W, C]`, N at least 1 -> by name float32 or bool `[N]`.
        heat_map: of such images float32 `[N, H, W]`, nats: `ScoredFlow.heat_map`.
        columns: the names of the scores, in the order of a table, and of each `float` or `bool`.
        image_shape: `(H, W, C)`.
        original_shape: `(h, w, C)` of the picture in a frame of zeros, or `image_shape`.
        asked: by name, as JSON has it, what its scores depend on.
        ranked_by: a name among `columns` and which end of it is unusual, `low` or `high`: for images
            that have the same `anomaly_score`.
    """

    scores: Callable[[np.ndarray], Values]
    heat_map: Callable[[np.ndarray], np.ndarray]
    columns: Mapping[str, type]
    image_shape: tuple[int, ...]
    original_shape: tuple[int, ...]
    asked: Mapping[str, Any]
    ranked_by: tuple[str, str]

    def rows(self, images: np.ndarray, errors: Sequence[str]) -> Iterator[ScoredRow]:
        """For each of `errors` the scores of a row in the order of `columns`, and why there are none.

        Args:
            images: uint8 `[n, H, W, C]` of the rows without an error, in order; n may be 0.
            errors: of a batch of rows, why a row has no image; "" = it has one.
        """
        values = self.scores(images) if len(images) else {}
        found = zip(*(values[name] for name in self.columns if values), strict=True)
        for error in errors:
            if error:
                yield None, error
                continue
            row = next(found)
            yield (row, "") if np.isfinite(row).all() else (None, _NOT_FINITE)


def flow_scorer(flow: ScoredFlow, false_alarm_rate: float | None = None) -> Scorer:
    """That of a flow with its calibration; a rate of None is the calibration's."""
    config, calibration = flow.config, flow.calibration
    rate = calibration.false_alarm_rate if false_alarm_rate is None else false_alarm_rate

    def scores(images: np.ndarray) -> Values:
        found = flow.scores(images, rate)
        return {name: column.numpy() for name, column in found.items()}

    black = scores(np.zeros((1, *config.image_shape), np.uint8))  # It tells which scores there are.
    kinds = {name: bool if column.dtype == bool else float for name, column in black.items()}
    return Scorer(
        scores=scores,
        heat_map=lambda images: flow.heat_map(images).numpy(),
        columns={name: kinds[name] for name in SCORES if name in kinds},
        image_shape=config.image_shape,
        original_shape=config.original_shape or config.image_shape,
        asked={
            "flow": calibration.fingerprint,
            "calibration": calibration.digest,
            "false_alarm_rate": rate,
            "batch_invariant": flow.batch_invariant,
        },
        ranked_by=(calibration.anomaly_by, SCORES[calibration.anomaly_by].unusual),
    )
