"""How batch-norm statistics follow the batches, whoever holds them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

__all__ = ["move_averages"]


def move_averages(
    variables: Sequence[tf.Variable], batch: Sequence[tf.Tensor], momentum: float | tf.Tensor
) -> None:
    """`variable = momentum * variable + (1 - momentum) * batch`, for each pair of the two sequences.

    Args:
        variables: all of one type.
        batch: what was measured of a batch, in the shapes of the variables.
        momentum: in [0, 1].
    """
    dtype = variables[0].dtype
    # The hint: a Python float would become a float32 before it is cast. As a number it stays one, and
    # no op of each graph.
    if not isinstance(momentum, float):
        momentum = tf.cast(tf.convert_to_tensor(momentum, dtype_hint=dtype), dtype)
    moved = tf.convert_to_tensor(1 - momentum, dtype)
    for variable, new in zip(variables, batch, strict=True):
        variable.assign_sub((variable - tf.cast(new, dtype)) * moved)
