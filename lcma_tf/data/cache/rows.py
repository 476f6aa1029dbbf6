"""Images of an array in any order: out of memory, or out of an entry of the cache by reading its file.

Mapped pages would count as memory of the process until the system wants them back, and each one that is
not in the system's cache would bring its neighbours with it, which a shuffled order does not want.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pathlib
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from lcma_tf.data.cache.entry import STATEMENT

__all__ = ["row_reader"]


def row_reader(images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function from indices `[n]` to the images at them, `[n, H, W, C]`, in memory."""
    mapping = _mapping_of_entry(images)
    if mapping is not None:
        with contextlib.suppress(OSError):
            return _FileRows(images, mapping)
    return lambda rows: images[rows]


def _mapping_of_entry(images: np.ndarray) -> mmap.mmap | None:
    """The mapping that they are in, if it is that of an entry and can be read beside it."""
    base: Any = images
    while isinstance(base, np.ndarray):
        base = base.base
    if not (isinstance(images, np.memmap) and isinstance(base, mmap.mmap)):
        return None
    # A file of somebody else may have been replaced since.
    is_entry = images.mode == "r" and (_path(images).parent / STATEMENT).exists()
    can_read = images.flags.c_contiguous and hasattr(os, "posix_fadvise")
    return base if is_entry and can_read else None


def _path(images: Any) -> pathlib.Path:
    return pathlib.Path(str(images.filename))


class _FileRows:
    """Reads rows of an array that an entry has mapped."""

    def __init__(self, images: np.ndarray, mapping: mmap.mmap):
        self._shape, self._dtype = images.shape[1:], images.dtype
        self._size = images[:1].nbytes
        # The mapping begins with the file: a header is shorter than a page.
        self._start = images.ctypes.data - np.frombuffer(mapping, np.uint8).ctypes.data
        self._path = _path(images)
        self._shuffled, self._in_order = (os.open(self._path, os.O_RDONLY) for _ in range(2))
        weakref.finalize(self, _close, self._shuffled, self._in_order)
        os.posix_fadvise(self._shuffled, 0, 0, os.POSIX_FADV_RANDOM)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        batch = np.empty((len(rows), *self._shape), self._dtype)
        if len(rows) and (np.diff(rows) == 1).all():
            self._read(self._in_order, batch, rows[0])
        else:
            for image, row in zip(batch, rows, strict=True):
                self._read(self._shuffled, image, row)
        return batch

    def _read(self, descriptor: int, into: np.ndarray, row: int) -> None:
        start = self._start + int(row) * self._size
        if os.preadv(descriptor, [into.data], start) != into.nbytes:
            raise OSError(f"{self._path} was cut short while it was in use")


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
