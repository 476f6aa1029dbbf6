"""A SavedModel in the C++ loader that TensorFlow Serving is built on, without TensorFlow in Python.

What goes in are serialized TensorProtos, as they stand in a server's requests and in a warm-up file:
TensorFlow makes the tensors out of them, and no array of ours is ever an address.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lcma_tf.serving.runtime import c_api
from lcma_tf.serving.runtime.c_api import LoaderError, Output

__all__ = ["CppLoader"]

_TAG = b"serve"
# `DataType` in tensorflow/core/framework/types.proto, of which NumPy knows these.
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    17: "uint16",
    19: "float16",
    22: "uint32",
    23: "uint64",
}
_ANY_DTYPE = 1  # Of a tensor that is about to become another.


class CppLoader:
    """A loaded SavedModel; `with` closes it. Threads may share it, but not close it while others run.

    Args:
        path: a version folder, the one with saved_model.pb.

    Raises:
        LoaderError: there is no SavedModel, TensorFlow refuses it, or there is no TensorFlow.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._tf = c_api.library()
        self._session = None
        self._graph = self._tf.TF_NewGraph()
        options = self._tf.TF_NewSessionOptions()
        try:
            with c_api.status(f"Loading {os.fspath(path)}") as status:
                self._session = self._tf.TF_LoadSessionFromSavedModel(
                    options,
                    None,
                    os.fsencode(path),
                    (ctypes.c_char_p * 1)(_TAG),
                    1,
                    self._graph,
                    None,
                    status,
                )
        except BaseException:
            self.close()
            raise
        finally:
            self._tf.TF_DeleteSessionOptions(options)

    def run(self, feeds: Mapping[str, bytes], fetches: Sequence[str]) -> list[np.ndarray]:
        """Runs the graph once.

        Args:
            feeds: serialized TensorProtos by the names of tensors, `operation:index`.
            fetches: names of tensors.

        Returns:
            An array for each of `fetches`.

        Raises:
            LoaderError: the graph lacks a tensor, a message is none, TensorFlow refuses the run, or an
                answer is of a dtype that is not of numbers.
        """
        if self._session is None:
            raise LoaderError("The model must be open; it is closed.")
        places = [self._place(name) for name in feeds]
        wanted = [self._place(name) for name in fetches]
        with contextlib.ExitStack() as stack:
            fed = [stack.enter_context(self._tensor(name, proto)) for name, proto in feeds.items()]
            fetched = (ctypes.c_void_p * len(wanted))()
            stack.callback(self._delete, fetched)
            with c_api.status("Running") as status:
                self._tf.TF_SessionRun(
                    self._session,
                    None,
                    (Output * len(places))(*places),
                    (ctypes.c_void_p * len(fed))(*fed),
                    len(fed),
                    (Output * len(wanted))(*wanted),
                    fetched,
                    len(wanted),
                    None,
                    0,
                    None,
                    status,
                )
            return [
                self._array(name, tensor) for name, tensor in zip(fetches, fetched, strict=True)
            ]

    def close(self) -> None:
        """Frees the model."""
        session, self._session = self._session, None
        graph, self._graph = self._graph, None
        if session:
            with c_api.status("Closing the session") as status:
                self._tf.TF_CloseSession(session, status)
            with c_api.status("Deleting the session") as status:
                self._tf.TF_DeleteSession(session, status)
        if graph:
            self._tf.TF_DeleteGraph(graph)

    def __enter__(self) -> CppLoader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _place(self, tensor: str) -> Output:
        operation, _, index = tensor.rpartition(":")
        found = self._tf.TF_GraphOperationByName(self._graph, operation.encode())
        if not found or not index.isdecimal():
            raise LoaderError(f"The graph must have the tensor {tensor!r}; it has not.")
        return Output(found, int(index))

    @contextlib.contextmanager
    def _tensor(self, name: str, proto: bytes) -> Iterator[int]:
        """A TF_Tensor of a serialized TensorProto, freed on leaving."""
        tensor = self._tf.TF_AllocateTensor(_ANY_DTYPE, None, 0, 4)
        message = self._tf.TF_NewBufferFromString(proto, len(proto))  # Its own copy.
        try:
            with c_api.status(f"Reading the TensorProto for {name}") as status:
                self._tf.TF_TensorFromProto(message, tensor, status)
            yield tensor
        finally:
            self._tf.TF_DeleteBuffer(message)
            self._tf.TF_DeleteTensor(tensor)

    def _array(self, name: str, tensor: int) -> np.ndarray:
        """A copy of a TF_Tensor of numbers, made by NumPy while the tensor lives."""
        number = self._tf.TF_TensorType(tensor)
        if number not in _DTYPES:
            raise LoaderError(f"{name} must have a dtype of numbers; got TensorFlow's {number}.")
        shape = tuple(self._tf.TF_Dim(tensor, axis) for axis in range(self._tf.TF_NumDims(tensor)))
        size = self._tf.TF_TensorByteSize(tensor)
        data = ctypes.string_at(self._tf.TF_TensorData(tensor), size) if size else b""
        return np.frombuffer(data, _DTYPES[number]).reshape(shape)

    def _delete(self, tensors: ctypes.Array) -> None:
        for tensor in tensors:
            if tensor:
                self._tf.TF_DeleteTensor(tensor)
