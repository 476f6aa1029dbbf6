"""TensorFlow's C API, called in the library of the TensorFlow wheel without importing TensorFlow.

Only what loading a SavedModel and running it needs is declared. Pointers to TensorFlow's objects are
plain ints here. No array goes in through it: tensors are made by TensorFlow out of serialized messages.
Names, arguments and who frees what: tensorflow/c/c_api.h, tf_buffer.h and tf_tensor.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import pathlib
from collections.abc import Iterator

from lcma_tf.errors import UserError

__all__ = ["LoaderError", "Output", "library", "status"]

# The framework first: the other one needs it, and then finds it loaded.
_LIBRARIES = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")


class LoaderError(UserError, RuntimeError):
    """What TensorFlow refused, in one sentence; or there is no TensorFlow."""


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("deallocator", ctypes.c_void_p),
    )


_POINTER, _INT, _CHARS, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
_BUFFER, _OUTPUTS = ctypes.POINTER(_Buffer), ctypes.POINTER(Output)
_POINTERS, _INT64S = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_int64)
# fmt: off
_FUNCTIONS = {  # Name: (returned type, types of the arguments).
    "TF_NewStatus": (_POINTER, ()),
    "TF_GetCode": (_INT, (_POINTER,)),
    "TF_Message": (_CHARS, (_POINTER,)),
    "TF_DeleteStatus": (None, (_POINTER,)),
    "TF_NewBufferFromString": (_BUFFER, (_CHARS, _SIZE)),
    "TF_DeleteBuffer": (None, (_BUFFER,)),
    "TF_NewGraph": (_POINTER, ()),
    "TF_DeleteGraph": (None, (_POINTER,)),
    "TF_GraphOperationByName": (_POINTER, (_POINTER, _CHARS)),
    "TF_NewSessionOptions": (_POINTER, ()),
    "TF_DeleteSessionOptions": (None, (_POINTER,)),
    "TF_LoadSessionFromSavedModel": (
        _POINTER,
        (_POINTER, _BUFFER, _CHARS, ctypes.POINTER(_CHARS), _INT, _POINTER, _BUFFER, _POINTER),
    ),
    "TF_SessionRun": (
        None,
        (_POINTER, _BUFFER, _OUTPUTS, _POINTERS, _INT, _OUTPUTS, _POINTERS, _INT,
         _POINTERS, _INT, _BUFFER, _POINTER),
    ),
    "TF_CloseSession": (None, (_POINTER, _POINTER)),
    "TF_DeleteSession": (None, (_POINTER, _POINTER)),
    "TF_AllocateTensor": (_POINTER, (_INT, _INT64S, _INT, _SIZE)),
    "TF_TensorFromProto": (None, (_BUFFER, _POINTER, _POINTER)),
    "TF_DeleteTensor": (None, (_POINTER,)),
    "TF_TensorData": (_POINTER, (_POINTER,)),
    "TF_TensorByteSize": (_SIZE, (_POINTER,)),
    "TF_TensorType": (_INT, (_POINTER,)),
    "TF_NumDims": (_INT, (_POINTER,)),
    "TF_Dim": (ctypes.c_int64, (_POINTER, _INT)),
}
# fmt: on


@functools.cache
def library() -> ctypes.CDLL:
    """The wheel's library with its functions declared, loaded once for the process.

    Raises:
        LoaderError: there is no wheel, or it has no such library.
    """
    spec = importlib.util.find_spec("tensorflow")  # Finds it; does not import it.
    if spec is None or not spec.submodule_search_locations:
        raise LoaderError(
            "The TensorFlow wheel must be installed, since its C++ library runs SavedModels; "
            "there is no package `tensorflow`."
        )
    folder = pathlib.Path(next(iter(spec.submodule_search_locations)))
    try:
        # Local: with RTLD_GLOBAL the wheel's BoringSSL would stand in for OpenSSL, and importing
        # hashlib, ssl or grpc afterwards would end the process.
        *_, loaded = (ctypes.CDLL(str(folder / name), ctypes.RTLD_LOCAL) for name in _LIBRARIES)
    except OSError as error:
        raise LoaderError(
            f"The TensorFlow wheel must have {' and '.join(_LIBRARIES)}, as those for Linux do; "
            f"loading them from {str(folder)!r} failed: {error}"
        ) from error
    for name, (returned, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = returned, arguments
    return loaded


@contextlib.contextmanager
def status(doing: str) -> Iterator[int]:
    """A TF_Status for one call, whose error is raised on leaving.

    Raises:
        LoaderError: the call failed; the message begins with `doing`.
    """
    tf = library()
    pointer = tf.TF_NewStatus()
    try:
        yield pointer
        if tf.TF_GetCode(pointer):
            raise LoaderError(f"{doing}: {tf.TF_Message(pointer).decode(errors='replace')}")
    finally:
        tf.TF_DeleteStatus(pointer)
