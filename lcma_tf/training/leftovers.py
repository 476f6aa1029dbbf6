"""What TensorFlow and its Probability keep of every flow, and a program that trains many must drop.

Two tables of theirs are global and only grow: the gradients of `tf.custom_gradient`, one entry for
each use in a traced function, and the bijectors' memory of values, whose symbolic tensors hold each
other. Both hold whole graphs with their constants and variables, some 80 MB for each run of the
smallest flow (TensorFlow 2.21, TFP 0.25). A third one counts tracings, by the code of a function: every
`fit` of Keras makes its functions anew, and those of several short runs pass for one that is traced
too often, of which TensorFlow warns.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import keras
import tensorflow_probability as tfp
from tensorflow.python.eager.polymorphic_function import (  # pyright: ignore[reportMissingImports]
    polymorphic_function,
)
from tensorflow.python.framework import ops  # pyright: ignore[reportAttributeAccessIssue]

__all__ = ["nothing_left_behind"]

_PREFIX = "CustomGradient-"


@contextlib.contextmanager
def nothing_left_behind(with_keras: bool = True) -> Iterator[None]:
    """On leaving, frees what was traced inside: models made inside must not be used after it.

    Args:
        with_keras: Keras' own session is cleared, too: the names that it gave, and settings of whoever
            is outside.
    """
    gradients = ops.gradient_registry._registry
    before = set(gradients)
    try:
        yield
    finally:
        for name in set(gradients) - before:
            if name.startswith(_PREFIX):
                del gradients[name]
        tracings = polymorphic_function._frequent_tracing_detector_manager
        with tracings._lock:
            tracings._detectors.clear()
        vars(tfp.bijectors.Bijector)["_cache"].storage.clear()  # No more than a memory of values.
        if with_keras:
            keras.backend.clear_session()
        gc.collect()  # Models and their graphs hold each other.
