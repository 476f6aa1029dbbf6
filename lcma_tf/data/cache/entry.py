"""A finished entry of the cache: its arrays, mapped, and what it states of them in `entry.json`.

It is held to what it states: sizes each time; the checksums of all blocks where it is small, and of the
next 256 MiB of them where it is large, so that a start never waits for a pass over all of it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import pathlib
from typing import Any

import numpy as np

from lcma_tf.data.cache.file_sink import HEADER
from lcma_tf.data.cache.identity import digest_of_values
from lcma_tf.data.fingerprint import digest_of_block, fingerprint_of_images, rows_of_block
from lcma_tf.files.saving import write_json

__all__ = ["STATEMENT", "DamagedEntryError", "Entry", "write_statement"]

STATEMENT = "entry.json"
_CHECKED = "checked.json"  # The block that the next opening begins to check at.
_SHARE = 1 << 28  # Bytes that are checked when an entry is opened.


class DamagedEntryError(Exception):
    """An entry is not what was written; the message says where."""


class Entry:
    """An entry of the cache, opened.

    Attributes:
        arrays: by name, read-only and mapped.
        notes: what the source said of the images.
        origin: a name for what was asked for when they were decoded.

    Raises:
        FileNotFoundError: there is none.
        DamagedEntryError: it is torn or changed.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder, self.origin = folder, folder.name.rpartition("-")[0]
        statement = _read_statement(folder / STATEMENT)
        self._stated: dict[str, Any] = statement["arrays"]
        self.notes = statement["notes"]
        self.arrays = {name: self._mapped(name) for name in self._stated}
        self._check_blocks()

    @property
    def nbytes(self) -> int:
        """Of all pixels."""
        return sum(array.nbytes for array in self.arrays.values())

    def fingerprint(self, images: np.ndarray) -> dict[str, Any] | None:
        """`fingerprint_of_images`, without a pass over what has a checksum; None: not of this entry.

        Args:
            images: an array of the entry, or images of one that follow one another.
        """
        place = self._place(images)
        if place is None:
            return None
        name, start = place
        known: list[str] = [] if start else self._stated[name]["digests"]
        return fingerprint_of_images(images, [bytes.fromhex(digest) for digest in known])

    def holds(self, images: np.ndarray) -> bool:
        """Whether `fingerprint` knows them."""
        return self._place(images) is not None

    def _place(self, images: np.ndarray) -> tuple[str, int] | None:
        """Which array `images` are of, and the index of the first."""
        for name, array in self.arrays.items():
            start, rest = divmod(images.ctypes.data - array.ctypes.data, max(array[:1].nbytes, 1))
            is_alike = images.shape[1:] == array.shape[1:] and images.dtype == array.dtype
            is_inside = not rest and 0 <= start <= len(array) - len(images)
            if is_alike and is_inside and images.flags.c_contiguous:
                return name, start
        return None

    def _mapped(self, name: str) -> np.ndarray:
        stated, path = self._stated[name], self._folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            size = path.stat().st_size
        except (OSError, ValueError) as error:
            raise DamagedEntryError(f"{path.name} cannot be read: {error}") from error
        is_right = list(array.shape) == stated["shape"] and str(array.dtype) == stated["dtype"]
        if not is_right or size != HEADER + array.nbytes:
            raise DamagedEntryError(f"{path.name} is not of the size that was written")
        return array

    def _check_blocks(self) -> None:
        blocks = [
            (name, index)
            for name, stated in self._stated.items()
            for index in range(len(stated["digests"]))
        ]
        if not blocks:
            return
        count = -(-len(blocks) * _SHARE // max(self.nbytes, 1))
        is_share, first = count < len(blocks), 0
        if is_share:
            with contextlib.suppress(OSError, ValueError, TypeError):
                first = int(json.loads((self._folder / _CHECKED).read_text())) % len(blocks)
            blocks = (blocks[first:] + blocks[:first])[:count]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for (name, index), is_right in zip(
                blocks, pool.map(self._is_right, blocks), strict=True
            ):
                if not is_right:
                    raise DamagedEntryError(f"block {index} of {name}.npy was changed")
        if is_share:
            with contextlib.suppress(OSError):  # Of somebody else: it begins there again.
                write_json(self._folder / _CHECKED, first + count)

    def _is_right(self, block: tuple[str, int]) -> bool:
        # Read, not mapped: what is mapped counts as memory of this process until there is no room.
        name, index = block
        array = self.arrays[name]
        size = array[:1].nbytes
        rows = rows_of_block(size)
        with open(self._folder / f"{name}.npy", "rb") as file:
            file.seek(HEADER + index * rows * size)
            pixels = file.read(size * min(rows, len(array) - index * rows))
        found = digest_of_block(np.frombuffer(pixels, np.uint8)).hex()
        return found == self._stated[name]["digests"][index]


def write_statement(folder: pathlib.Path, statement: dict[str, Any]) -> None:
    """Writes `entry.json`, which makes arrays an entry."""
    write_json(folder / STATEMENT, {**statement, "digest": digest_of_values(statement)})


def _read_statement(path: pathlib.Path) -> dict[str, Any]:
    content = path.read_bytes()
    try:
        statement = json.loads(content)
        stated = statement.pop("digest")
    except (ValueError, KeyError, AttributeError) as error:
        raise DamagedEntryError(f"{path.name} cannot be read") from error
    if stated != digest_of_values(statement):
        raise DamagedEntryError(f"{path.name} was changed")
    return statement
