"""What a factorization is made of, checked before anything is decided by it or built of it."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.integers import is_integer

__all__ = ["check_integer", "check_seed", "checked_image_shape", "checked_mask"]


def check_integer(name: str, value: Any) -> None:
    """Raises `FactorizationError` unless argument `name` is an integer."""
    if not is_integer(value):
        raise FactorizationError(f"`{name}` must be an integer; got {value!r}.")


def check_seed(seed: Any) -> None:
    """Raises `FactorizationError` unless argument `seed` is an integer of at least 0."""
    check_integer("seed", seed)
    if seed < 0:
        raise FactorizationError(f"`seed` must be at least 0; got {seed}.")


def checked_image_shape(image_shape: Any) -> tuple[int, ...]:
    """`(H, W, C)` as integers of Python.

    Raises:
        FactorizationError: it is none.
    """
    try:
        shape = tuple(map(operator.index, image_shape))
    except TypeError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise FactorizationError(
            f"`image_shape` must be (H, W, C), all positive integers; got {image_shape!r}."
        )
    return shape


def checked_mask(what: str, mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A copy of `mask` that cannot be written.

    Raises:
        FactorizationError: `what` is no mask of a scale that `shape` enters.
    """
    mask = np.array(mask)
    if mask.dtype != bool or mask.shape != shape:
        raise FactorizationError(
            f"{what} must be bool of shape {shape}; got {mask.dtype} {mask.shape}."
        )
    if mask.shape[0] % 2 or mask.shape[1] % 2 or 2 * mask.sum() != mask.size:
        raise FactorizationError(
            f"{what} must have even height and width and be half True; "
            f"got shape {mask.shape} with {mask.sum()} of {mask.size} True."
        )
    mask.setflags(write=False)
    return mask
