"""Functions traced once for each flow, without TensorFlow's alarm that they are traced too often.

TensorFlow counts tracings by the code of a function, so that five flows in one process, each with its
own `_sample`, pass for one function that is traced at every call ("5 out of the last 5 calls ...
triggered retracing"). A partial has no code of its own: each is counted by itself, and whoever does
trace one of them again and again is still told.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

__all__ = ["traced"]


def traced(function: Callable[..., Any], **options: Any) -> Any:
    """`tf.function` of `function`, without AutoGraph; `options` are those of `tf.function`."""
    return tf.function(functools.partial(function), autograph=False, **options)
