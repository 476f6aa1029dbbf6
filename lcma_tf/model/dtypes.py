"""Of which type a model is, whatever Keras would take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from lcma_tf.config import ConfigError

__all__ = ["check_mixed_precision", "checked_dtype", "floatx"]


def checked_dtype(dtype: str | None, mixed_precision: bool) -> str:
    """`dtype`, or `float32` for None.

    Raises:
        ValueError: it is neither `float32` nor `float64`.
        ConfigError: `mixed_precision` with another than `float32`.
    """
    dtype = dtype or "float32"
    if dtype not in ("float32", "float64"):
        raise ValueError(f"`dtype` must be 'float32' or 'float64'; got {dtype!r}.")
    check_mixed_precision(mixed_precision, dtype)
    return dtype


@contextlib.contextmanager
def floatx(dtype: str) -> Iterator[None]:
    """What Keras makes inside the block is of `dtype`."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def check_mixed_precision(mixed_precision: bool, dtype: str) -> None:
    """Raises `ConfigError` where bfloat16 is asked for inside a flow that is not of float32."""
    if mixed_precision and dtype != "float32":
        raise ConfigError(
            f"`mixed_precision` must be False for a flow of another dtype than float32; got {dtype}."
        )
