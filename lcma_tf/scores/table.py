"""The scores: each a small function of what was measured and of a calibration, and a line in a table.

The table is `lcma_tf.choices.SCORES`. What is computed here is the same code in Python and in an export.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from lcma_tf.choices import SCORES
from lcma_tf.scores.measures import CODEC, LOG_PROB

__all__ = ["Known", "Score", "raw_scores", "scores_of"]


class Known(NamedTuple):
    """What a score is computed from.

    Args:
        measures: of the images, float32 `[N]` each: `lcma_tf.scores.measures.Measures`.
        calibration: a `lcma_tf.scores.calibration.Calibration`; of raw scores only `states` and
            `num_dimensions` are asked.
        false_alarm_rate: float32, a number or `[N]`, in (0, 0.5).
    """

    measures: Mapping[str, tf.Tensor]
    calibration: Any
    false_alarm_rate: Any = 0.01


@dataclasses.dataclass(frozen=True)
class Score:
    """One score of an image. Entries of `lcma_tf.choices.SCORES`.

    Args:
        help: a line for documents and `--help`, with the unit.
        compute: `Known` -> floats (which become float32) or bool `[N]`.
        unusual: which end is that of unusual images: `low` or `high`.
        is_raw: whether it is read off the measures alone. Of each raw score a calibration has a table,
            and each may be what `anomaly_score` is made of; the others are made of those tables.
        needs_codec: whether it is there only for images that a PNG file holds.

    Example:
        ```python
        from lcma_tf.choices import SCORES
        from lcma_tf.scores.table import Score

        SCORES["latent_density"] = Score(
            "log-density of the latents that leave first, nats",
            lambda known: known.measures["latent_1"],
            unusual="low",
        )
        del SCORES["latent_density"]
        ```
    """

    help: str
    compute: Callable[[Known], tf.Tensor]
    unusual: str
    is_raw: bool = True
    needs_codec: bool = False

    def strangeness(self, known: Known) -> tf.Tensor:
        """The score, or its negative: what is high for unusual images."""
        return self.oriented(self.compute(known))

    def oriented(self, values) -> tf.Tensor:
        """Values of the score `[N]` as float32, turned so that the high ones are unusual."""
        values = tf.cast(values, tf.float32)
        return values if self.unusual == "high" else -values


def scores_of(known: Known) -> dict[str, tf.Tensor]:
    """Every score that there is for such images, by name."""
    found = {name: score.compute(known) for name, score in _scores(known.measures).items()}
    return {
        name: value if value.dtype == tf.bool else tf.cast(value, tf.float32)
        for name, value in found.items()
    }


def raw_scores(measures: Container[str]) -> dict[str, Score]:
    """The raw ones among the scores that there are for images with measures of such names."""
    return {name: score for name, score in _scores(measures).items() if score.is_raw}


def _scores(measures: Container[str]) -> dict[str, Score]:
    return {
        name: score for name, score in SCORES.items() if CODEC in measures or not score.needs_codec
    }


def _log_prob(known: Known):
    return known.measures[LOG_PROB]


def _bits_per_dim(known: Known):
    return _log_prob(known) * (-1.0 / (known.calibration.num_dimensions * math.log(2.0)))


def _percentile(known: Known):
    """Of 100 images of the calibration, how many have at most this log-probability."""
    return 100.0 * tf.exp(known.calibration.log_rarity("log_prob", known))


def _typicality(known: Known):
    """Twice the smaller share of the two ends: small for too unlikely and for too likely images.

    Nalisnick et al. 2019 ask the same of the mean of a batch; here it is one image, and its distribution
    a table instead of a bootstrap.
    """
    lower = known.calibration.log_rarity("log_prob", known)
    upper = known.calibration.log_share_above(_log_prob(known))
    return tf.minimum(2.0 * tf.exp(tf.minimum(lower, upper)), 1.0)


def _complexity(known: Known):
    """Bits/dim beyond those of the codec (Serra et al. 2020, equation 1, there with PNG, too)."""
    return _bits_per_dim(known) - known.measures[CODEC]


def _last_scale(known: Known):
    """The density of the coarsest latents (Schirrmeister et al. 2020, section 3)."""
    last = max(
        (name for name in known.measures if name.startswith("latent_")),
        key=lambda name: int(name.removeprefix("latent_")),
    )
    return known.measures[last]


def _density_of_states(known: Known):
    """The log-density of all measures together (Morningstar et al. 2021, section 3: DoSE)."""
    return known.calibration.states.log_density(known.measures)


def _anomaly_score(known: Known):
    """`1 - share ** c`, where `c` makes it 0.5 at the share that is the rate of false alarms."""
    rarity = known.calibration.log_rarity(known.calibration.anomaly_by, known)
    return -tf.math.expm1(rarity * (math.log(0.5) / _log_rate(known)))


def _is_anomaly(known: Known):
    rarity = known.calibration.log_rarity(known.calibration.anomaly_by, known)
    return rarity <= _log_rate(known)


def _log_rate(known: Known):
    return tf.math.log(tf.cast(known.false_alarm_rate, tf.float64))


LOG_PROBABILITY = Score("log-probability of the image, nats", _log_prob, "low")
BITS_PER_DIM = Score("the same as bits per dimension", _bits_per_dim, "high")
PERCENTILE = Score(
    "of 100 calibration images, how many have at most this log_prob",
    _percentile,
    "low",
    is_raw=False,
)
TYPICALITY = Score(
    "two-sided p-value of log_prob: both ends are unusual", _typicality, "low", is_raw=False
)
COMPLEXITY = Score(
    "bits/dim beyond those of a PNG file of the image", _complexity, "high", needs_codec=True
)
LAST_SCALE = Score("log-density of the coarsest latents, nats", _last_scale, "low")
DENSITY_OF_STATES = Score(
    "log-density of all measures together, nats",
    _density_of_states,
    "low",
)
ANOMALY_SCORE = Score(
    "0 to 1, 0.5 at the threshold of the false-alarm rate", _anomaly_score, "high", is_raw=False
)
IS_ANOMALY = Score("whether it is above that threshold", _is_anomaly, "high", is_raw=False)
