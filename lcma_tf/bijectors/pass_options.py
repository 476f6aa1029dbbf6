"""The keyword arguments of a pass through a flow: known by name, so that a misspelt one is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import tensorflow as tf

__all__ = ["PassOptions", "check_options"]


class PassOptions(TypedDict, total=False):
    """The keyword arguments of a pass, handed on to every part as they are given; no other is taken.

    Attributes:
        training: batch norms use the moments of the batch, and move the moving ones.
        momentum: of the moving moments, 0.9 if it is not given.
        weight: 0 where the batch of this replica does not count in the moments; None = it does.
    """

    training: bool
    momentum: float | tf.Tensor
    weight: tf.Tensor | None


def check_options(options: Mapping[str, Any]) -> None:
    """Raises `TypeError` at a keyword argument that is none of `PassOptions`: a misspelt one, say."""
    unknown = sorted(options.keys() - PassOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(PassOptions.__annotations__)
        raise TypeError(
            f"Keyword arguments of a pass must be of {known}; got {', '.join(unknown)}."
        )
