"""The image rows of one pickled CIFAR-10 batch, read without running anything that it names.

A pickle can call any function, so a file from a stranger can do anything. Here the three NumPy names
that the original files use mean stand-ins, which take the array apart themselves; any other name is
refused. NumPy's own are not called: a forged dtype could make them read bytes as addresses.
"""

import io
import math
import pickle

import numpy as np


class _Dtype:
    """Stands for `numpy.dtype`: keeps the code, such as `u1`, and ignores the state."""

    def __init__(self, code=None, *unused):
        self.code = code

    def __setstate__(self, state):
        pass


class _Array:
    """Stands for `numpy.ndarray` and for the function that makes an empty one: keeps its rows."""

    def __init__(self, *unused):
        self.rows = None

    def __setstate__(self, state):
        _, shape, dtype, is_fortran_ordered, data = state
        code = dtype.code if isinstance(dtype, _Dtype) else None
        if code not in ("u1", b"u1") or is_fortran_ordered or not isinstance(data, bytes):
            raise pickle.UnpicklingError(f"array must be plain uint8 in C order; got {code!r}")
        if len(shape) != 2 or math.prod(shape) != len(data):
            raise pickle.UnpicklingError(
                f"array must have two axes of {len(data)} bytes; got {shape}"
            )
        self.rows = np.frombuffer(data, np.uint8).reshape(shape)


_ALLOWED = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name, global_name):
        if (module_name, global_name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"batch must name nothing but NumPy arrays; got {module_name}.{global_name}"
            )
        return _ALLOWED[module_name, global_name]


def pickled_rows(data: bytes) -> np.ndarray:
    """The array `data` of a batch: uint8 `[N, 3072]`.

    Raises:
        pickle.UnpicklingError: not a batch, or one that names more than arrays.
    """
    batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()  # Python 2 wrote them.
    array = batch.get(b"data") if isinstance(batch, dict) else None
    if not isinstance(array, _Array) or array.rows is None:
        raise pickle.UnpicklingError("batch must be a dictionary with an array `data`")
    return array.rows
