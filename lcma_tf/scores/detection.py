"""How well a score tells unusual images from normal ones: figures of two sets, each with an interval.

NumPy and scikit-learn alone. All that counts is how values are ordered, so that any rising function of a
score has the same figures, and a value that is no number (NaN) is taken for the most unusual one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from lcma_tf.extras import require_extra
from lcma_tf.scores.errors import CalibrationError

__all__ = [
    "DETECTED",
    "FIGURES",
    "NUM_RESAMPLES",
    "Interval",
    "detection",
    "distance_by_chance",
    "distance_from_uniform",
    "require_sklearn",
]

DETECTED = 0.95  # The share of unusual images that a threshold is to catch, for false alarms at it.
NUM_RESAMPLES = 1_000
FIGURES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "false_alarms_at_95": "false alarms at 95 % detection",
}
_RAISED = ("average_precision",)  # By what is drawn twice.
_INTERVAL = (2.5, 97.5)  # Percentiles of the resamples.
_AT_ONCE = 2**17  # Counts of images held at a time: 1 MB of each array, which a cache holds.


@dataclasses.dataclass(frozen=True)
class Interval:
    """A figure and its 95 % bootstrap interval.

    Args:
        value: of the images.
        low, high: 2.5th and 97.5th percentile of the figure over resamples of them.
    """

    value: float
    low: float
    high: float


def require_sklearn() -> None:
    """Raises `MissingExtraError` unless figures can be computed: for who scores thousands of images."""
    require_extra("sklearn", "data", "evaluate scores", package="scikit-learn")


def detection(
    normal: np.ndarray, unusual: np.ndarray, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, Interval]:
    """The figures of `FIGURES`, by name, each in 0 to 1.

    - `auroc`: the probability that an unusual image has a higher value than a normal one, ties by half;
    - `average_precision`: mean precision over the recalls; by chance it is the share of unusual images
      among all, so that it compares with that of sets of the same sizes alone;
    - `false_alarms_at_95`: the share of normal images at or above the highest threshold that 95 % of the
      unusual ones reach.

    The intervals are those of the percentile bootstrap (Efron 1979) over images, each set resampled by
    itself. An image that is drawn twice is a tie, and ties raise the average precision, so the resamples
    of that are moved until their mean is the figure. Intervals say how much other images of the same two
    kinds would move a figure; not what other weights, or unusual images of another kind, would.

    Args:
        normal: `[n]`, n > 0, oriented: high is unusual.
        unusual: `[m]`, m > 0.
        seed: of the resamples; under one seed all scores of the same images have the same resamples.
        num_resamples: how many.

    Raises:
        CalibrationError: an empty set, or one of another rank.
        MissingExtraError: scikit-learn is not installed.
    """
    for name, values in (("normal", normal), ("unusual", unusual)):
        if np.ndim(values) != 1 or len(values) == 0:
            raise CalibrationError(
                f"`{name}` must hold the scores [n] of at least one image; got {np.shape(values)}."
            )
    require_sklearn()
    from sklearn.metrics import average_precision_score, roc_auc_score

    # Scikit-learn refuses infinite values, which an image far from all others may have.
    n, ranks = len(normal), _ranks(np.concatenate([normal, unusual]))
    is_unusual = np.arange(len(ranks)) >= n
    found = {
        "auroc": roc_auc_score(is_unusual, ranks),
        "average_precision": average_precision_score(is_unusual, ranks),
        "false_alarms_at_95": _false_alarms(*_as_counts(ranks, n))[0],
    }
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in found}
    for counts in _resamples(ranks, n, seed, num_resamples):
        for name, figure in _OF_COUNTS.items():
            drawn[name].append(figure(*counts))
    intervals = {}
    for name, values in drawn.items():
        values = np.concatenate(values)
        if name in _RAISED:
            values = np.clip(values - values.mean() + found[name], 0, 1)
        intervals[name] = np.percentile(values, _INTERVAL)
    return {
        name: Interval(float(value), *map(float, intervals[name])) for name, value in found.items()
    }


def distance_from_uniform(shares: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance of `shares` `[n]`, in 0 to 1, from the uniform distribution."""
    ranked = np.sort(np.asarray(shares, np.float64))
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return float(np.max(np.maximum(steps[1:] - ranked, ranked - steps[:-1])))


def distance_by_chance(num_images: int, num_calibration_images: int) -> float:
    """Which distance one in twenty sets exceeds whose images are distributed as the calibration's.

    The two-sample Kolmogorov-Smirnov test at 5 %, asymptotically (Smirnov 1948): the table of a
    calibration is a sample, too.
    """
    return 1.358 * float(np.sqrt(1 / num_images + 1 / num_calibration_images))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Whole numbers from 0 on in the order of the values; equal ones for equal values."""
    values = np.asarray(values, np.float64)
    return np.unique(np.where(np.isnan(values), np.inf, values), return_inverse=True)[1]


# Of counts `[B, R]` of normal and of unusual images at each rank, a row a resample: figures `[B]`.


def _auroc(normal: np.ndarray, unusual: np.ndarray) -> np.ndarray:
    below = np.cumsum(normal, axis=1) - normal / 2
    return np.sum(unusual * below, axis=1) / (normal.sum(axis=1) * unusual.sum(axis=1))


def _average_precision(normal: np.ndarray, unusual: np.ndarray) -> np.ndarray:
    caught, alarms = _at_least(unusual), _at_least(normal + unusual)
    precision = np.divide(caught, alarms, out=np.zeros_like(caught), where=alarms > 0)
    return np.sum(unusual * precision, axis=1) / unusual.sum(axis=1)


def _false_alarms(normal: np.ndarray, unusual: np.ndarray) -> np.ndarray:
    needed = np.ceil(DETECTED * unusual.sum(axis=1, keepdims=True))
    threshold = np.sum(_at_least(unusual) >= needed, axis=1) - 1  # They fall with the rank.
    caught = np.take_along_axis(_at_least(normal), threshold[:, None], axis=1)[:, 0]
    return caught / normal.sum(axis=1)


_OF_COUNTS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "auroc": _auroc,
    "average_precision": _average_precision,
    "false_alarms_at_95": _false_alarms,
}


def _at_least(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]


def _as_counts(ranks: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    size = int(ranks.max()) + 1
    normal = np.bincount(ranks[:n], minlength=size)[None].astype(np.float64)
    return normal, np.bincount(ranks[n:], minlength=size)[None].astype(np.float64)


def _resamples(
    ranks: np.ndarray, n: int, seed: int, num_resamples: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The counts of so many resamples, some rows at a time."""
    size, rows = int(ranks.max()) + 1, max(1, _AT_ONCE // len(ranks))
    # A stream for each set: the draws of one do not depend on how many the other has.
    streams = np.random.default_rng(seed).spawn(2)
    for start in range(0, num_resamples, rows):
        count = min(rows, num_resamples - start)
        places = np.arange(count)[:, None] * size
        drawn = []
        for stream, own in zip(streams, (ranks[:n], ranks[n:]), strict=True):
            chosen = own[stream.integers(0, len(own), (count, len(own)))] + places
            counts = np.bincount(chosen.ravel(), minlength=count * size)
            drawn.append(counts.reshape(count, size).astype(np.float64))
        yield drawn[0], drawn[1]
