"""A check inside a graph that nothing is computed past."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["after", "finite"]


def after(checks: list, *tensors: tf.Tensor) -> list[tf.Tensor]:
    """`tensors`, but not before the assertions `checks`: by itself an assertion orders nothing."""
    with tf.control_dependencies(checks):
        return [tf.identity(tensor) for tensor in tensors]


def finite(tensor: tf.Tensor, message: str) -> tf.Tensor:
    """`tensor`; a number in it that is not finite is an INVALID_ARGUMENT with `message`."""
    check = tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(tensor)), [message])
    return after([check], tensor)[0]
