"""Rotations of the channels: orthogonal matrices, checked, and the one that a covariance asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lcma_tf.factorization.errors import FactorizationError

__all__ = ["ORTHOGONAL_TO", "checked_rotation", "klt", "nearest_rotation"]

ORTHOGONAL_TO = 1e-5  # What a matrix times its transpose may differ from the identity by.
# Of logits: rounding leaves 1e-14 of constant images; one pixel of a million, a level off, 2e-10.
_LEAST_VARIANCE = 1e-12


def checked_rotation(name: str, matrix: ArrayLike) -> np.ndarray:
    """Returns `matrix` as float64 `[c, c]`.

    Raises:
        FactorizationError: it is not square, not finite, or not orthogonal to `ORTHOGONAL_TO`.
    """
    try:
        found = np.asarray(matrix)
    except ValueError as error:  # Rows of several lengths.
        raise FactorizationError(f"`{name}` must be a square matrix; got {matrix!r}.") from error
    is_square = found.ndim == 2 and found.shape[0] == found.shape[1] > 0
    if not is_square or not np.issubdtype(found.dtype, np.number) or np.iscomplexobj(found):
        raise FactorizationError(
            f"`{name}` must be a square matrix of real numbers; got {found.dtype} {found.shape}."
        )
    found = found.astype(np.float64)
    error = np.abs(found @ found.T - np.eye(len(found))).max()
    if not error <= ORTHOGONAL_TO:  # A NaN is not.
        raise FactorizationError(
            f"`{name}` must be orthogonal to {ORTHOGONAL_TO:g}; a product of it with its transpose "
            f"differs from the identity by {error:.3g}."
        )
    return found


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The orthogonal matrix nearest to a float64 one, by its polar decomposition."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def klt(covariance: np.ndarray) -> np.ndarray:
    """The Karhunen-Loeve transform of `covariance` `[c, c]`: rows are its axes, most variance first.

    The sign of a row, which a covariance leaves open, makes its largest entry positive. Where nothing
    varies by more than rounding, the identity.
    """
    covariance = np.asarray(covariance, np.float64)
    if np.diag(covariance).max() < _LEAST_VARIANCE:
        return np.eye(len(covariance))
    variances, axes = np.linalg.eigh(covariance)
    rows = axes.T[np.argsort(-variances, kind="stable")]
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    return nearest_rotation(rows * np.sign(largest))
