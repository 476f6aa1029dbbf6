"""The signatures that stand in a serialized MetaGraphDef, read without TensorFlow's messages.

Those come only with an import of all of TensorFlow. Field numbers: meta_graph.proto and
tensor_shape.proto of TensorFlow.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from export.dtypes import DTYPES

__all__ = ["Signature", "TensorInfo", "read_signatures"]

# The loader's own; not for clients.
_NOT_SERVED = "__saved_model_init_op"
# Protocol Buffers' wire types.
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output.

    Attributes:
        name: the tensor's in the graph, `operation:index`.
        dtype: of NumPy; `np.dtype(object)` for strings.
        shape: None for an unknown size; None as a whole for an unknown rank.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...] | None

    def check(self, what: str, array: np.ndarray) -> None:
        """Raises ValueError, about `what`, unless `array` is of this dtype and shape."""
        dtype = np.dtype(object) if array.dtype.kind in "SU" else array.dtype
        if dtype != self.dtype:
            raise ValueError(f"`{what}` must be {_name(self.dtype)}; got {_name(dtype)}.")
        if self.shape is None:
            return
        fits = len(self.shape) == array.ndim and all(
            size in (None, actual) for size, actual in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`{what}` must have shape {list(self.shape)}; got {list(array.shape)}."
            )


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs by the names that clients use."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


def read_signatures(meta_graph: bytes) -> dict[str, Signature]:
    """All signatures that are for clients, in the order of their names, as the file has none.

    Raises:
        ValueError: not a MetaGraphDef, or a tensor of a kind that has no NumPy array.
    """
    try:
        entries = [_entry(entry) for entry in _all(memoryview(meta_graph), 5)]
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("`meta_graph` must be a serialized MetaGraphDef.") from error
    return {
        name: Signature(_tensors(definition, 1, name), _tensors(definition, 2, name))
        for name, definition in sorted(entries, key=operator.itemgetter(0))
        if name != _NOT_SERVED
    }


def _name(dtype: np.dtype) -> str:
    return "string" if dtype.hasobject else dtype.name


def _tensors(signature: memoryview, number: int, name: str) -> dict[str, TensorInfo]:
    entries = [_entry(entry) for entry in _all(signature, number)]
    return {
        key: _tensor_info(info, f"{name}/{key}")
        for key, info in sorted(entries, key=operator.itemgetter(0))
    }


def _tensor_info(message: memoryview, what: str) -> TensorInfo:
    fields = dict(_fields(message))
    if 1 not in fields:
        raise ValueError(f"`{what}` must be a plain tensor, not a sparse or composite one.")
    if fields.get(2) not in DTYPES:
        raise ValueError(f"`{what}` must have a dtype of NumPy; got number {fields.get(2)}.")
    return TensorInfo(_text(fields[1]), DTYPES[fields[2]], _shape(fields.get(3, memoryview(b""))))


def _shape(message: memoryview) -> tuple[int | None, ...] | None:
    if any(_all(message, 3)):  # unknown_rank
        return None
    sizes = [dict(_fields(dim)).get(1, 0) for dim in _all(message, 2)]
    return tuple(None if size >= 1 << 63 else size for size in sizes)  # -1, as 64 bits.


def _entry(message: memoryview) -> tuple[str, memoryview]:
    """An entry of a map from strings to messages; what is empty is not written."""
    fields = dict(_fields(message))
    return _text(fields.get(1, memoryview(b""))), fields.get(2, memoryview(b""))


def _all(message: memoryview, number: int) -> Iterator[Any]:
    return (value for found, value in _fields(message) if found == number)


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Numbers and values, ints or bytes, of a message's fields as they stand there."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
        else:
            if wire_type == _LENGTH:
                size, at = _varint(message, at)
            else:
                size = {_FIXED64: 8, _FIXED32: 4}[wire_type]
            value, at = message[at : at + size], at + size
        yield number, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
