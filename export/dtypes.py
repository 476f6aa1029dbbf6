"""TensorFlow's numbers for dtypes, as files and its C API write them, and NumPy's names for them."""

from __future__ import annotations

import numpy as np

__all__ = ["DTYPES", "STRING", "number_of", "strings_of"]

# `DataType` in tensorflow/core/framework/types.proto, of which NumPy knows these.
_NUMBERS = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "object": 7,
    "int64": 9,
    "bool": 10,
    "uint16": 17,
    "float16": 19,
    "uint32": 22,
    "uint64": 23,
}
STRING = _NUMBERS["object"]
DTYPES = {number: np.dtype(name) for name, number in _NUMBERS.items()}


def number_of(array: np.ndarray, name: str) -> int:
    """The number of an array's dtype; arrays of `bytes` or `str`, fixed-width or not, are strings.

    Args:
        array: what to look at.
        name: what to call it in the message.

    Raises:
        ValueError: TensorFlow has no such dtype, or not in this byte order.
    """
    if array.dtype.kind in "SUO":
        return STRING
    for number, dtype in DTYPES.items():
        if array.dtype == dtype:
            return number
    raise ValueError(
        f"`{name}` must have one of the dtypes {', '.join(_NUMBERS)}; got {array.dtype}."
    )


def strings_of(array: np.ndarray, name: str) -> list[bytes]:
    """The elements of an array that `number_of` calls strings, `str` in UTF-8.

    Raises:
        ValueError: an element is something else.
    """
    texts = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
    for text in texts:
        if not isinstance(text, bytes):
            raise ValueError(f"`{name}` must hold bytes or str; got {type(text).__name__}.")
    return texts
