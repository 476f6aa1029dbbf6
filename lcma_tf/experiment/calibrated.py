"""The calibration of a run: made as its last phase or later, kept beside its model."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcma_tf.experiment.workdir import Workdir
from lcma_tf.extras import MissingExtraError
from lcma_tf.model import FlowModel, load
from lcma_tf.say import say
from lcma_tf.scores.calibrate import MIN_IMAGES, calibrate
from lcma_tf.scores.calibration import Calibration
from lcma_tf.scores.errors import CalibrationError
from lcma_tf.scores.scored_flow import ScoredFlow

__all__ = ["calibrate_run", "calibration_of", "scored_flow"]


def calibrate_run(model: FlowModel, images: np.ndarray, workdir: Workdir) -> None:
    """Calibrates a finished run by its validation `images`, once; one that cannot be is told so.

    Of a run that was trained on, the rate and the score of before are kept; groups it knows none.
    """
    asked: dict[str, Any] = {}
    try:
        before = calibration_of(workdir)
        asked = {name: getattr(before, name) for name in ("false_alarm_rate", "anomaly_by")}
        before.check_fits(model)
    except CalibrationError:
        workdir.calibration.unlink(missing_ok=True)  # Of fewer steps, if there is one.
    else:
        return
    told = ", ".join(f"{name} {value}" for name, value in asked.items())
    say(f"calibrate the scores with the validation images{f' ({told})' if told else ''}")
    try:
        calibrate(model, images, **asked).save(workdir.calibration)
    except (CalibrationError, MissingExtraError) as error:  # All else of the run is done.
        say(f"no calibration, without which there is no anomaly score: {error}")


def calibration_of(workdir: Workdir) -> Calibration:
    """The calibration of a run; that it is of its flow is asked by who uses it (`check_fits`).

    Raises:
        CalibrationError: there is none, or it is damaged.
    """
    if not workdir.calibration.exists():
        raise CalibrationError(
            f"`workdir` must have a {workdir.calibration.name}, made by `python -m lcma_tf.calibrate` "
            f"from {MIN_IMAGES} images or more; got {str(workdir.path)!r} without."
        )
    return Calibration.load(workdir.calibration)


def scored_flow(workdir: Workdir, batch_invariant: bool = False) -> ScoredFlow:
    """The flow of a finished run with its calibration; `batch_invariant` as `ScoredFlow` has it.

    Raises:
        CalibrationError: it has none, or it is damaged or that of another flow.
        FileNotFoundError, ModelFileError: there is no flow, or it is damaged.
    """
    model = load(workdir.path)
    return ScoredFlow(model, calibration_of(workdir), batch_invariant)
