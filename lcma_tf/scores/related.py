"""Images that are related, as crops of one photograph are: what is left out together, what is drawn.

NumPy and scikit-learn alone.
"""

from __future__ import annotations

import numpy as np

from lcma_tf.scores.errors import CalibrationError

__all__ = ["expected_false_alarms", "folds", "group_numbers"]

_MIN_GROUPS = 10
_NUM_FOLDS, _NUM_FOLDS_OF_GROUPS = 5, 10  # What a few large groups leave out is much of the whole.
_NUM_RESAMPLES = 1_000
_INTERVAL = (2.5, 97.5)


def group_numbers(groups: np.ndarray, num_images: int) -> np.ndarray:
    """Numbers 0, 1, ... for whatever `groups` `[num_images]` calls its groups.

    Raises:
        CalibrationError: another shape, no kind of name, or fewer than 10 groups.
    """
    groups = np.asarray(groups)
    if groups.shape != (num_images,) or groups.dtype.kind not in "iuSU":
        raise CalibrationError(
            f"`groups` must be integers or strings of shape [{num_images}], one for each image; "
            f"got {groups.dtype} {list(groups.shape)}."
        )
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < _MIN_GROUPS:
        raise CalibrationError(
            f"`groups` must be at least {_MIN_GROUPS} different ones; got {len(names)}."
        )
    return numbers


def folds(num_images: int, groups: np.ndarray | None) -> list[np.ndarray]:
    """Indices of the images that are judged by all others: every image once, no group in two parts.

    Without groups they are blocks of neighbours.

    Args:
        groups: what `group_numbers` returns, or None.
    """
    if groups is None:
        return np.array_split(np.arange(num_images), _NUM_FOLDS)
    from sklearn.model_selection import GroupKFold  # A second, for those alone who fit.

    splits = GroupKFold(_NUM_FOLDS_OF_GROUPS).split(groups, groups=groups)
    return [left_out for _, left_out in splits]


def expected_false_alarms(
    values: np.ndarray, groups: np.ndarray | None, rate: float, seed: int = 0
) -> tuple[float, float]:
    """Between which shares of false alarms other such images are 19 times in 20: (low, high).

    A bootstrap over groups, not over images: from one draw of as many groups comes the threshold, from
    another the share of its images that are beyond it. Of few groups it can be far from `rate`, however
    many images they have.

    Args:
        values: how strange each image is, `[n]`, high is strange.
        groups: what `group_numbers` returns; None = each image is by itself.
        rate: that was asked for.
        seed: of the draws.
    """
    groups = np.arange(len(values)) if groups is None else groups
    of_strangest_first = groups[np.argsort(-np.asarray(values), kind="stable")]
    num_groups, rng = groups.max() + 1, np.random.default_rng(seed)
    shares = np.empty(_NUM_RESAMPLES)
    for index in range(_NUM_RESAMPLES):
        known, other = (
            np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
            for _ in range(2)
        )
        known, other = np.cumsum(known[of_strangest_first]), other[of_strangest_first]
        beyond = np.searchsorted(known, rate * (known[-1] + 1), side="right")
        shares[index] = other[:beyond].sum() / other.sum()
    low, high = np.percentile(shares, _INTERVAL)
    return float(low), float(high)
