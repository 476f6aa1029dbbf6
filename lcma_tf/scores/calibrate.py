"""A calibration from normal images alone, in one pass: no anomalous image is needed."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.config import require_kind
from lcma_tf.data import evaluation_batches
from lcma_tf.data.pipeline import batch_spec
from lcma_tf.extras import require_extra
from lcma_tf.model import FlowModel
from lcma_tf.model.noise import check_seed
from lcma_tf.say import say
from lcma_tf.scores.calibration import Calibration, check_rate, fingerprint_of
from lcma_tf.scores.errors import CalibrationError
from lcma_tf.scores.measures import CODEC, LOG_PROB, Measures, has_codec
from lcma_tf.scores.related import expected_false_alarms, folds, group_numbers
from lcma_tf.scores.states import States, num_parts_for
from lcma_tf.scores.table import Known, raw_scores
from lcma_tf.traced import traced

__all__ = ["MIN_IMAGES", "calibrate", "held_out_strangeness"]

MIN_IMAGES = 100  # With fewer a rate of 1 % is no more than a guess.


def calibrate(
    model: FlowModel,
    images: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    false_alarm_rate: float = 0.01,
    anomaly_by: str = "density_of_states",
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = True,
) -> Calibration:
    """Learns from images that are as they should be how every score is distributed over them.

    They must be images that the flow was not trained on, the validation set say: on its own training
    images a flow scores too well, and alarms for most others.

    Args:
        model: trained, with its batch-norm statistics recalibrated; a snapshot is taken.
        images: uint8 `[N, H, W, C]`, at least 100.
        groups: `[N]`, integers or strings: which images are related, as crops of one photograph are, or
            frames of one film. What is fitted is judged on images that were left out, and those of one
            group are left out together; else too many later images are false alarms. None = each is
            by itself, or related ones stand side by side: blocks of neighbours are left out.
        false_alarm_rate: the share of such images that `is_anomaly` is to be true for.
        anomaly_by: the raw score (`lcma_tf.choices.SCORES`) that `anomaly_score` is made of.
        batch_size: images a pass.
        seed: of the dequantization noise, that of `FlowModel.log_prob`.
        verbose: show a bar, and say how many false alarms to expect.

    Raises:
        CalibrationError: fewer than 100 images, groups of another form or fewer than 10 of them, a rate
            outside (0, 0.5), another `anomaly_by`, images whose scores are all the same or not finite,
            or a flow of real-valued pixels.
        ConfigError: `model` is something else, or a seed that is no integer.
        DataError: images of another type or rank.
        MissingExtraError: scikit-learn is not installed.
        ValueError: images of another shape than the flow's.

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
        calibration = lcma_tf.calibrate(flow, images, false_alarm_rate=0.05, verbose=False)
        scores = lcma_tf.ScoredFlow(flow, calibration).scores(images[:8])
        assert scores["anomaly_score"].shape == (8,)
        ```
    """
    _check(model, images, false_alarm_rate, anomaly_by)
    check_seed(seed)
    related = None if groups is None else group_numbers(groups, len(images))
    measures, mean_map = _measured(model, images, batch_size, seed, verbose)
    num_dimensions = model.config.num_dimensions
    strangeness = held_out_strangeness(measures, num_dimensions, related)
    tails = Calibration.tails_of(strangeness, measures[LOG_PROB])
    if verbose:
        low, high = expected_false_alarms(strangeness[anomaly_by], related, false_alarm_rate, seed)
        alone = " if each image is by itself" if related is None else ""
        say(
            f"false alarms: {false_alarm_rate:.2%} asked for, {low:.2%} to {high:.2%} expected{alone}"
        )
    return Calibration(
        fingerprint=fingerprint_of(model),
        tails=tails,
        states=States.of(measures),
        mean_map=mean_map,
        num_dimensions=num_dimensions,
        num_images=len(images),
        seed=seed,
        false_alarm_rate=false_alarm_rate,
        anomaly_by=anomaly_by,
    )


def _check(model: FlowModel, images: np.ndarray, false_alarm_rate: float, anomaly_by: str) -> None:
    require_kind("model", model, FlowModel)
    check_rate(false_alarm_rate)
    if model.config.real_valued:
        raise CalibrationError("`model` must be of 8-bit images; got one of real-valued pixels.")
    known = raw_scores([CODEC] if has_codec(model.config) else [])
    if not isinstance(anomaly_by, str) or anomaly_by not in known:
        raise CalibrationError(
            f"`anomaly_by` must be one of {', '.join(known)}; got {anomaly_by!r}."
        )
    batch_spec(images)  # Refuses another type or rank.
    if len(images) < MIN_IMAGES:
        raise CalibrationError(
            f"`images` must be at least {MIN_IMAGES} to calibrate with; got {len(images)}."
        )
    model.check_array(images)
    require_extra("sklearn", "data", "calibrate", package="scikit-learn")


class _Fitted(NamedTuple):
    """What raw scores ask of a calibration."""

    states: States
    num_dimensions: int


def held_out_strangeness(
    measures: dict[str, np.ndarray], num_dimensions: int, groups: np.ndarray | None
) -> dict[str, np.ndarray]:
    """How strange every image is by every raw score, `[n]` each, as one that nothing was fitted to."""
    scores, count = raw_scores(measures), len(measures[LOG_PROB])
    found = {name: np.empty(count, np.float32) for name in scores}
    for fold in folds(count, groups):
        others = {name: np.delete(column, fold) for name, column in measures.items()}
        own = {name: tf.constant(column[fold]) for name, column in measures.items()}
        known = Known(own, _Fitted(States.of(others, num_parts_for(count)), num_dimensions))
        for name, score in scores.items():
            found[name][fold] = score.strangeness(known).numpy()
    return found


def _measured(
    model: FlowModel, images: np.ndarray, batch_size: int, seed: int, verbose: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """All measures of `images`, `[n]` each, and the mean of their maps `[H, W]`."""
    measures = Measures(model.frozen(), model.factorization, seed)

    def of_batch(batch):
        found, nats = measures.with_map(batch)
        return found, tf.reduce_sum(nats, axis=0)

    of_batch = traced(of_batch, input_signature=[batch_spec(images)])
    bar = keras.utils.Progbar(len(images), unit_name="image", verbose=int(verbose))
    rows, total = [], np.zeros(model.config.image_shape[:2])
    for batch in evaluation_batches(images, batch_size):
        found, nats = of_batch(batch)
        rows.append({name: column.numpy() for name, column in found.items()})
        total += nats.numpy()
        bar.add(len(batch))
    columns = {name: np.concatenate([row[name] for row in rows]) for name in measures.names}
    return columns, (total / len(images)).astype(np.float32)
