"""The images of an `.npz` archive, read out of it one by one: an array is never in memory whole.

Nothing in the file is unpickled, so a file from a stranger cannot run code.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection, Iterator
from typing import IO, NamedTuple

import numpy as np

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.rows import Row, digest_of_file, existing_file
from lcma_tf.files.npz import read_array
from lcma_tf.files.paths import expanded, printable

__all__ = ["open_npz"]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class _Array(NamedTuple):
    """One array of images: `name` in the archive, `shape` `[N, H, W, C]`."""

    name: str
    shape: tuple[int, ...]
    is_fortran: bool


class _Arrays:
    """Images of one array after the other; named by index, and by array if there are several."""

    note = ""

    def __init__(self, path: str, arrays: list[_Array]):
        self._path, self._arrays = path, arrays
        self.digest = digest_of_file(path, *arrays)

    def __len__(self) -> int:
        return sum(array.shape[0] for array in self._arrays)

    def read(self, start: int) -> Iterator[Row]:
        for array in self._arrays:
            count = array.shape[0]
            if start < count:
                prefix = f"{array.name}/" if len(self._arrays) > 1 else ""
                for index, image in enumerate(self._images(array, start), start):
                    yield Row(f"{prefix}{index}", image)
            start = max(0, start - count)

    def _images(self, array: _Array, start: int) -> Iterator[np.ndarray]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                if array.is_fortran:  # An image is not in one piece.
                    yield from read_array(archive, f"{array.name}.npy")[start:]
                    return
                with archive.open(f"{array.name}.npy") as file:
                    yield from _streamed(file, start)
        # NumPy, zipfile and its decompressors have no error in common.
        except Exception as error:
            raise BatchError(
                f"`input` must be a whole .npz archive; reading `{array.name}` of "
                f"{printable(self._path)!r} failed: {error}"
            ) from error


def open_npz(name: str, data_dir: str | None = None, without: Collection[str] = ()) -> _Arrays:
    """All arrays of images in the file `PATH`, or that of `PATH:ARRAY`: uint8 `[N, H, W, C]`.

    Arrays of another kind are left alone, unless they are named.

    Raises:
        BatchError: no such file or array, or one that is no archive or holds no such array.
    """
    del data_dir, without  # The name says it all.
    path, wanted = name, ""
    if not os.path.isfile(expanded(name)) and ":" in name:
        path, _, wanted = name.rpartition(":")
    path = existing_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [own for own in archive.namelist() if own.endswith(".npy")]
            found = {own.removesuffix(".npy"): _kind(archive, own) for own in members}
    except Exception as error:
        raise BatchError(
            f"`input` must be a whole .npz archive; opening {printable(path)!r} failed: {error}"
        ) from error
    if wanted and wanted not in found:
        raise BatchError(
            f"`input` must name an array of the file; got {wanted!r}, found {', '.join(found)}"
        )
    images = [array for own in ([wanted] if wanted else found) if (array := found[own])]
    if not images:
        raise BatchError(
            f"`input` must hold a uint8 array of shape [N, H, W, C]; {printable(name)!r} has none"
        )
    return _Arrays(path, images)


def _kind(archive: zipfile.ZipFile, member: str) -> _Array | None:
    """An array of images by its header; None = it is of another kind."""
    with archive.open(member) as file:
        shape, is_fortran, dtype = _header(file)
    if dtype != np.uint8 or len(shape) != 4:
        return None
    return _Array(member.removesuffix(".npy"), shape, is_fortran)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"its form of an array is {version}")
    return _HEADERS[version](file)


def _streamed(file: IO[bytes], start: int) -> Iterator[np.ndarray]:
    """The images from `start` on of an array whose images lie one after the other."""
    (count, *shape), _, _ = _header(file)
    size = math.prod(shape)
    file.seek(start * size, os.SEEK_CUR)
    for index in range(start, count):
        data = file.read(size)
        if len(data) < size:
            raise ValueError(f"it ends in its image {index} of {count}")
        yield np.frombuffer(data, np.uint8).reshape(shape)
    if file.read(1):  # Only at the end are checksums compared.
        raise ValueError("it is longer than its array")
