"""One array on its way to the disk, block by block.

Files are written to, never mapped: where a disk is full, a mapped page would end the process by a
signal.
"""

from __future__ import annotations

import contextlib
import errno
import io
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import keras
import numpy as np

from lcma_tf.data.cache.filling import Sink
from lcma_tf.data.fingerprint import digest_of_block, rows_of_block
from lcma_tf.errors import UserError
from lcma_tf.files.saving import SaveError

__all__ = ["HEADER", "FileSink", "refusals_named", "size_of", "to_disk"]

HEADER = 128  # Bytes of a .npy header; NumPy pads to 64, and ours are of 80 to 118.
_SECONDS = 30.0  # Of decoding that a kill may cost.
_PATIENCE = 2.0  # Seconds before a bar is shown.


@contextlib.contextmanager
def refusals_named(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Raises `SaveError`, with what to do, where the file system refuses to write into the cache."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError | BlockingIOError):  # The latter: a lock is held.
            raise
        raise SaveError(
            f"Decoded images must be written into {os.fspath(folder)!r}, and the file system refuses: "
            f"{error.strerror or error}. Nothing half-written is left; make room, name another folder "
            "by `data_cache`, or hold the images in memory by an empty name."
        ) from error


class FileSink(Sink):
    """Fills a .npy file.

    Args:
        file: open for reading and writing, without a buffer: it would be written once more where the
            file is closed on a full disk.
        blocks: what is in it, as `log` was told.
        count: images at most; None = not known.
        log: is given every block, once it is on the disk.

    Raises:
        SaveError: the file system refuses.
    """

    def __init__(self, file: IO[bytes], blocks: list[dict], count: int | None, log: Callable):
        self._file, self._count, self._log = file, count, log
        self._block: np.ndarray | None = (
            None  # Of images; the first `_in_block` of them are filled.
        )
        self._in_block, self._before = 0, 0  # And images in the blocks before it.
        self._saved = self._shown = self._begun = time.monotonic()
        self._bar: keras.utils.Progbar | None = None
        self.is_whole = bool(blocks) and blocks[-1]["whole"]
        self.filled = sum(block["rows"] for block in blocks)
        if blocks and not self.is_whole:
            self._resume(blocks)

    def append(self, images: np.ndarray) -> None:
        if not len(images):
            return
        if self._block is None:
            rows = rows_of_block(images[0].nbytes)
            self._block = np.empty((rows, *images.shape[1:]), images.dtype)
            with refusals_named(os.path.dirname(self._file.name)):
                self._check_room(images[0].nbytes)
        while len(images):
            taken = images[: len(self._block) - self._in_block]
            self._block[self._in_block : self._in_block + len(taken)] = taken
            self._in_block += len(taken)
            self.filled += len(taken)
            images = images[len(taken) :]
            if self._in_block == len(self._block):
                self.save()
                self._before, self._in_block = self.filled, 0
        now = time.monotonic()
        if now - self._saved > _SECONDS:
            self.save()
        if now - self._shown > 0.2 and now - self._begun > _PATIENCE:
            self._show(now)

    def save(self, whole: bool = False) -> None:
        """Brings the block to the disk as far as it is filled; more of it replaces that later."""
        with refusals_named(os.path.dirname(self._file.name)):
            self._save(whole)
        self._saved = time.monotonic()

    def _save(self, whole: bool) -> None:
        none = np.zeros((1, 0, 0, 3), np.uint8)  # No image, of no known shape.
        block = none if self._block is None else self._block
        filled = block[: self._in_block]
        end = self._write(HEADER + self._before * block[0].nbytes, filled.tobytes())
        if whole:
            self._file.truncate(end)
            self._write(0, _header(block.dtype, (self.filled, *block.shape[1:])))
        to_disk(self._file)
        self._log(
            {
                "start": self._before,
                "rows": len(filled),
                "shape": block.shape[1:],
                "dtype": str(block.dtype),
                "digest": digest_of_block(filled).hex(),
                "whole": whole,
            }
        )

    def finish(self) -> None:
        self.save(whole=True)
        if self._bar is not None:
            self._bar.update(self.filled, finalize=True)

    def _write(self, start: int, content: bytes) -> int:
        """Writes all of it, and tells where it ends."""
        left, end = memoryview(content), start + len(content)
        self._file.seek(start)
        while left:
            left = left[self._file.write(left) :]
        return end

    def _resume(self, blocks: list[dict]) -> None:
        """Goes on behind what the log has; of a last block that is not full, with its images."""
        last = blocks[-1]
        dtype, shape = np.dtype(last["dtype"]), tuple(last["shape"])
        size = dtype.itemsize * int(np.prod(shape))
        if not size:
            return
        self._block = np.empty((rows_of_block(size), *shape), dtype)
        self._before = self.filled
        if last["rows"] < len(self._block):
            self._before, self._in_block = last["start"], last["rows"]
            self._file.seek(HEADER + self._before * size)
            pixels = np.frombuffer(self._file.read(self._in_block * size), dtype)
            self._block[: self._in_block] = pixels.reshape(-1, *shape)

    def _check_room(self, size: int) -> None:
        """Before hours of decoding that would end on a full disk."""
        needed = size * max((self._count or 0) - self.filled, 0)
        free = shutil.disk_usage(os.path.dirname(self._file.name)).free
        if needed > free:
            told = f"{needed / 1e9:,.1f} GB are needed and {free / 1e9:,.1f} GB free"
            raise OSError(errno.ENOSPC, told)

    def _show(self, now: float) -> None:
        if self._bar is None:
            self._bar = keras.utils.Progbar(self._count, unit_name="image")
        self._bar.update(self.filled)
        self._shown = now


def size_of(block: Mapping[str, Any]) -> int:
    """Bytes of the images of a block, as a `FileSink` logs it."""
    return block["rows"] * np.dtype(block["dtype"]).itemsize * math.prod(block["shape"])


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """That of a .npy file, padded to `HEADER` bytes whatever the number of images."""
    memory = io.BytesIO()
    fields = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(memory, fields)
    header = memory.getvalue()
    assert len(header) == HEADER
    return header


def to_disk(file: IO) -> None:
    """Brings what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())
