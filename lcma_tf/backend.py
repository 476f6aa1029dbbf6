"""Which backend Keras has: it must be TensorFlow, and is best told before anything is done."""

from __future__ import annotations

import os
import sys

from lcma_tf.config import require

__all__ = ["require_tensorflow"]


def require_tensorflow() -> None:
    """Sees to it that Keras runs on TensorFlow, whatever its own configuration file says.

    Raises:
        ConfigError: Keras was imported with another backend, or `KERAS_BACKEND` asks for one.
    """
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "config"):
        name = keras.config.backend()
    else:
        name = os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
    require(name == "tensorflow", "KERAS_BACKEND", "tensorflow", name)
