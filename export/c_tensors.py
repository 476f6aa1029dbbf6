"""NumPy arrays as tensors of TensorFlow's C API, and back."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

import numpy as np

from export.c_api import Code, CppSessionError, library
from export.dtypes import DTYPES, STRING, number_of, strings_of

__all__ = ["deleting", "feed", "fetch"]

# sizeof(TF_TString): an array of strings is an array of these.
_STRING_BYTES = 24


@contextlib.contextmanager
def feed(name: str, array: np.ndarray) -> Iterator[int]:
    """A TF_Tensor with a copy of `array`, freed on leaving; `name` is for the messages.

    Strings are freed with it, so nothing in the graph may keep the tensor past the run.

    Raises:
        CppSessionError: INVALID_ARGUMENT, for a dtype that TensorFlow or NumPy does not have or an
            array of objects that are neither bytes nor str.
    """
    try:
        number = number_of(array, name)
        texts = strings_of(array, name) if number == STRING else []
    except ValueError as error:
        raise CppSessionError(str(error), Code.INVALID_ARGUMENT) from error
    tf = library()
    size = array.size * _STRING_BYTES if number == STRING else array.nbytes
    dims = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor = tf.TF_AllocateTensor(number, dims, array.ndim, size)
    data = tf.TF_TensorData(tensor)
    places = [data + index * _STRING_BYTES for index in range(len(texts))]
    try:
        if number == STRING:
            for place, text in zip(places, texts, strict=True):
                tf.TF_StringInit(place)
                tf.TF_StringCopy(place, text, len(text))
        elif size:
            # Held by a name until it is copied: an address alone keeps no array alive.
            contiguous = np.ascontiguousarray(array)
            ctypes.memmove(data, contiguous.ctypes.data, size)
        yield tensor
    finally:
        for place in places:  # TF_DeleteTensor frees the array of strings, not the long ones in it.
            tf.TF_StringDealloc(place)
        tf.TF_DeleteTensor(tensor)


def fetch(tensor: int) -> np.ndarray:
    """A copy of a TF_Tensor; strings come as an object array of bytes.

    Raises:
        CppSessionError: UNIMPLEMENTED, for a dtype that NumPy does not have.
    """
    tf = library()
    number, data = tf.TF_TensorType(tensor), tf.TF_TensorData(tensor)
    if number not in DTYPES:
        raise CppSessionError(
            f"No NumPy dtype for TensorFlow's number {number}.", Code.UNIMPLEMENTED
        )
    shape = tuple(tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor)))
    array = np.empty(shape, DTYPES[number])
    if number == STRING:
        flat = array.reshape(-1)  # A view.
        for index in range(flat.size):
            place = data + index * _STRING_BYTES
            flat[index] = ctypes.string_at(
                tf.TF_StringGetDataPointer(place), tf.TF_StringGetSize(place)
            )
    elif array.nbytes:
        ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array


@contextlib.contextmanager
def deleting(tensors: ctypes.Array) -> Iterator[ctypes.Array]:
    """Frees the tensors that are in the array on leaving; a place may be empty."""
    try:
        yield tensors
    finally:
        for tensor in tensors:
            if tensor:
                library().TF_DeleteTensor(tensor)
