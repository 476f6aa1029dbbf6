"""How well a run's scores tell other images from its own kind, as figures and as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lcma_tf.choices import SCORES
from lcma_tf.config import require
from lcma_tf.data import OneSplit, evaluation_batches
from lcma_tf.files.paths import printable
from lcma_tf.scores.detection import (
    FIGURES,
    NUM_RESAMPLES,
    detection,
    distance_by_chance,
    distance_from_uniform,
)
from lcma_tf.scores.scored_flow import ScoredFlow

__all__ = ["as_markdown", "evaluate_scores", "short_names"]

_ASKED = (0.01, 0.05)  # Rates of false alarms, of which is told what came out.


def evaluate_scores(
    scored: ScoredFlow,
    normal: OneSplit,
    anomalous: Mapping[str, OneSplit],
    *,
    batch_size: int = 64,
    seed: int = 0,
    verbose: bool = True,
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The figures of every score, such as JSON can hold, and the scores: name of a set -> name -> `[N]`.

    Args:
        scored: a calibrated flow.
        normal: images as they should be, of which none was trained on or calibrated with.
        anomalous: sets of unusual images by a short name; none is called `normal`.
        batch_size: images a pass.
        seed: of the bootstrap's resamples.
        verbose: show a bar.
    """
    calibration = scored.calibration
    sets = {"normal": normal, **anomalous}
    total = sum(len(split.images) for split in sets.values())
    bar = keras.utils.Progbar(total, unit_name="image", verbose=int(verbose))
    values = {
        name: _scores_of(scored, split.images, batch_size, bar.add) for name, split in sets.items()
    }
    ordinary = values["normal"]
    decisive = ordinary[calibration.anomaly_by]
    alarms = [_false_alarms(rate, calibration.is_anomaly(decisive, rate)) for rate in _ASKED]
    found = {
        "calibration": {
            "fingerprint": calibration.fingerprint,
            "num_images": calibration.num_images,
            "anomaly_by": calibration.anomaly_by,
            "false_alarm_rate": calibration.false_alarm_rate,
        },
        "seed": seed,
        "num_resamples": NUM_RESAMPLES,
        "normal": {
            **_described(normal),
            "false_alarms": alarms,
            "percentile_distance": distance_from_uniform(ordinary["percentile"] / 100),
            "percentile_distance_by_chance": distance_by_chance(
                len(normal.images), calibration.num_images
            ),
        },
        "anomalous": {
            name: {
                **_described(split),
                "share_is_anomaly": float(values[name]["is_anomaly"].mean()),
                "scores": _figures(ordinary, values[name], seed),
            }
            for name, split in anomalous.items()
        },
    }
    return found, values


def as_markdown(found: Mapping[str, Any]) -> str:
    """The figures of `evaluate_scores` as tables: a row a score, a column a set of unusual images."""
    normal, calibration, sets = found["normal"], found["calibration"], found["anomalous"]
    lines = [
        "# Scores of normal and of unusual images",
        "",
        f"Normal: {normal['dataset']}, {normal['split']}, {normal['num_images']:,} images. Calibrated "
        f"with {calibration['num_images']:,} images. In brackets 95 % bootstrap intervals over images "
        f"({found['num_resamples']:,} resamples).",
        "",
        f"False alarms (`is_anomaly`, by `{calibration['anomaly_by']}`) among the normal images, found "
        "for what was asked, which chance alone moves by what follows +-: "
        + ", ".join(
            f"{alarm['share']:.2%} for {alarm['asked']:.0%} +- {alarm['standard_error']:.2%}"
            for alarm in normal["false_alarms"]
        )
        + f". Percentiles of the normal images are {normal['percentile_distance']:.3f} from uniform "
        f"(Kolmogorov-Smirnov; {normal['percentile_distance_by_chance']:.3f} is exceeded by chance once "
        "in 20 times).",
    ]
    titles = [f"{name} ({entry['num_images']:,})" for name, entry in sets.items()]
    for figure, title in FIGURES.items():
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        lines += _row(["score", *titles]), _row(["---"] * (1 + len(titles)))
        for score in next(iter(sets.values()))["scores"]:
            cells = [entry["scores"][score][figure] for entry in sets.values()]
            lines.append(_row([f"`{score}`", *map(_cell, cells)]))
    rate = f"{calibration['false_alarm_rate']:.2%}"
    lines += ["", f"## Found by `is_anomaly` at {rate} false alarms asked", ""]
    lines += _row(titles), _row(["---"] * len(titles))
    lines.append(_row([f"{entry['share_is_anomaly']:.1%}" for entry in sets.values()]))
    return "\n".join(lines) + "\n"


def short_names(datasets: Sequence[str]) -> list[str]:
    """What tables and figures call data sets: the last part of a path, if that tells them apart.

    Raises:
        ConfigError: there are none, or two are the same.
    """
    require(
        len(set(datasets)) == len(datasets) > 0 and all(datasets),
        "anomalous",
        "different data sets, at least one",
        ",".join(datasets),
    )
    ends = [name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".npz") for name in datasets]
    tells = len({*ends, "normal", ""}) == len(ends) + 2
    return [printable(name) for name in (ends if tells else datasets)]


def _scores_of(
    scored: ScoredFlow,
    images: np.ndarray,
    batch_size: int,
    tell: Callable[[int], Any],
) -> dict[str, np.ndarray]:
    """Every score by name, `[N]`; `tell` is told the size of each batch."""
    batches = []
    for batch in evaluation_batches(images, batch_size):
        found = scored.scores(batch)
        batches.append({name: column.numpy() for name, column in found.items()})
        tell(len(batch))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _figures(
    normal: Mapping[str, np.ndarray], unusual: Mapping[str, np.ndarray], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    found = {}
    for name, column in normal.items():
        oriented = [SCORES[name].oriented(values).numpy() for values in (column, unusual[name])]
        figures = detection(*oriented, seed=seed)
        found[name] = {figure: dataclasses.asdict(value) for figure, value in figures.items()}
    return found


def _false_alarms(rate: float, is_anomaly: np.ndarray) -> dict[str, float]:
    share = float(is_anomaly.mean())
    return {
        "asked": rate,
        "share": share,
        # Of the rate that was asked: it is there even where no image was called unusual.
        "standard_error": float(np.sqrt(rate * (1 - rate) / len(is_anomaly))),
    }


def _described(images: OneSplit) -> dict[str, Any]:
    return {
        "dataset": printable(images.name),
        "dataset_description": printable(images.description),
        "split": images.split,
        "num_images": len(images.images),
        "fingerprint": images.fingerprint,
    }


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
