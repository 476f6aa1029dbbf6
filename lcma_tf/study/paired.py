"""Whether one list of figures is below another, where entry i of both shares all but one thing.

The paired t-test: two rules run with the same seed share initial weights, order of the data and noise,
so the differences within seeds spread less than the figures themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

__all__ = ["CONFIDENCE", "PairedDifference", "holm", "mean_and_spread", "paired_difference"]

CONFIDENCE = 0.95  # Of the intervals; 1 - CONFIDENCE is the level of the tests.


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """Mean of n differences, its confidence interval, and the p-value of a paired t-test.

    Args:
        n: number of pairs.
        mean: of the differences; None without a pair.
        low, high: ends of the interval of `CONFIDENCE`; None with fewer than two pairs.
        p_value: two-sided, of no difference; None with fewer than two pairs.
        corrected_p_value: the same for one comparison of several (`holm`); None until they are known.
    """

    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    corrected_p_value: float | None = None

    @property
    def holds_zero(self) -> bool:
        """Whether no difference at all is among the values that the interval allows."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> PairedDifference:
    """Compares `ours - theirs` with zero.

    With mean m and sample standard deviation s of the n differences, t = m / (s / sqrt(n)) has Student's
    distribution of n - 1 degrees of freedom if the differences are normal and there is none on average.

    Args:
        ours, theirs: finite, of one length; entries of one index belong together.

    Raises:
        ValueError: the lengths differ.
    """
    # SciPy comes with scikit-image, which holds the photographs.
    from scipy import special

    if len(ours) != len(theirs):
        raise ValueError(
            f"`ours` and `theirs` must be of one length; got {len(ours)} and {len(theirs)}."
        )
    differences = np.asarray(ours, float) - np.asarray(theirs, float)
    n = len(differences)
    if n == 0:
        return PairedDifference(0)
    mean = float(differences.mean())
    if n == 1:
        return PairedDifference(1, mean)
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    half = float(special.stdtrit(n - 1, 0.5 + CONFIDENCE / 2)) * error
    if error == 0:  # The same difference every time: no spread, as between two equal runs.
        p_value = 1.0 if mean == 0 else 0.0
    else:
        p_value = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
    return PairedDifference(n, mean, mean - half, mean + half, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's p-values for a family of tests, in the order given.

    If all below a level are taken for differences, the chance that even one of them is none is at most
    that level, whatever the tests have to do with each other: S. Holm, A simple sequentially rejective
    multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def mean_and_spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None where there are too few values for it."""
    mean = float(np.mean(values)) if len(values) else None
    return mean, float(np.std(values, ddof=1)) if len(values) > 1 else None
