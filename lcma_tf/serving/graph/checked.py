"""What every signature does first: refuse what it was not made for, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from lcma_tf.model.graph_checks import after

__all__ = ["checked_rows", "concrete"]


def checked_rows(max_rows: int, **inputs: tuple[tf.Tensor, Sequence[int]]) -> list[tf.Tensor]:
    """The inputs of a signature, but not before they are found right: an INVALID_ARGUMENT if not.

    Args:
        max_rows: that each may have; all must have equally many, at least one.
        **inputs: by name, a tensor and the shape that its rows must have.
    """
    tensors = [
        tf.ensure_shape(tensor, [None, *row], name=f"{name}_shape")
        for name, (tensor, row) in inputs.items()
    ]
    rows = [tf.shape(tensor)[0] for tensor in tensors]
    checks = [
        tf.debugging.Assert(
            (number >= 1) & (number <= max_rows),
            [f"{name}: must have 1 to {max_rows} rows", number],
        )
        for name, number in zip(inputs, rows, strict=True)
    ]
    if len(rows) > 1:
        message = f"{' and '.join(inputs)}: must have the same number of rows"
        checks.append(tf.debugging.Assert(rows[0] == rows[1], [message, *rows]))
    return after(checks, *tensors)


def concrete(function: Callable[..., Any], **inputs: tf.TensorSpec):
    """The function as a signature with these inputs, by name."""
    named = {name: tf.TensorSpec(i.shape, i.dtype, name=name) for name, i in inputs.items()}
    return tf.function(function, autograph=False).get_concrete_function(**named)
