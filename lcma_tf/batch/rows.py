"""An input as rows that are read one after the other, from any of them on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from lcma_tf.batch.errors import BatchError
from lcma_tf.choices import INPUTS
from lcma_tf.files.paths import expanded, printable
from lcma_tf.image_files import ImageFileError

__all__ = ["Content", "Row", "Rows", "digest_of_file", "existing_file", "open_input"]

# A file to read, the bytes of one, pixels `[H, W, C]`, or what is wrong with a row that has none.
Content = Path | bytes | np.ndarray | ImageFileError
_FOLDER = "image_folder:"  # What a name without a prefix is.


class Row(NamedTuple):
    """One image of an input.

    Args:
        name: of the file relative to its folder, or the row's index.
        content: to be decoded by `lcma_tf.batch.pictures`.
    """

    name: str
    content: Content


class Rows(Protocol):
    """An input. What an opener of `lcma_tf.choices.INPUTS` gives; nothing of a row is held here.

    Args:
        digest: tells it from any other input, and from the same one with other images.
        note: a sentence on what of it is left out; "" = nothing.
    """

    digest: str
    note: str

    def __len__(self) -> int: ...

    def read(self, start: int) -> Iterator[Row]:
        """The rows from `start` on, in an order that is always the same.

        Raises:
            BatchError: the input turns out to be damaged, where that is not one row's alone.
        """
        ...


def open_input(name: str, data_dir: str | None = None, without: Collection[str] = ()) -> Rows:
    """The rows of `FOLDER`, `GLOB` or `PREFIX:REST`, a prefix of `lcma_tf.choices.INPUTS`.

    Args:
        name: as said.
        data_dir: where TFDS keeps prepared sets; None = its default. Other inputs have no such place.
        without: absolute paths of files that are no input where a folder or a pattern has them, as what
            is made of the input beside it.

    Raises:
        BatchError: there is nothing of that name, it cannot be read, or it holds no image.
        DataError: a folder that cannot be read, or a TensorFlow Datasets set that cannot be had.
        MissingExtraError: a package that reads such an input is not installed.
    """
    prefix = next((prefix for prefix in INPUTS if name.startswith(prefix)), None)
    opener = INPUTS[prefix or _FOLDER]
    rows = opener(name.removeprefix(prefix or ""), data_dir, without)
    if not len(rows):
        notes = f": {rows.note}" if rows.note else ""
        raise BatchError(f"`input` must hold an image; got {printable(name)!r} without{notes}")
    return rows


def existing_file(path: str) -> str:
    """`path`, with `~` expanded, of a file that is there.

    Raises:
        BatchError: it is not.
    """
    path = expanded(path)
    if not os.path.isfile(path):
        raise BatchError(
            f"`input` must name an existing file; there is none at {printable(path)!r}"
        )
    return path


def digest_of_file(path: str, *parts: object) -> str:
    """Of a file that is not read for it: size, time of the last change, and `parts` of its name."""
    found = os.stat(path)
    text = repr((found.st_size, found.st_mtime_ns, *parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
