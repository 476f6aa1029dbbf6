"""Arrays by name in one `.npz` file: written with a checksum, read strictly.

Damage to the index of a zip archive can hide a member (its neighbour's entry then claims to be longer),
and NumPy reads a member only as far as its header says: zip's own checksums see neither. Here members
are counted and read to their end, and a file of ours carries the SHA-256 of all of its bytes, as the
comment of the zip archive, which other readers of `.npz` files do not see. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from lcma_tf.errors import UserError
from lcma_tf.files.saving import written_whole

__all__ = ["NpzError", "read_array", "read_npz", "save_npz"]

_LABEL = b"lcma_tf sha256 "
_COMMENT_LENGTH = len(_LABEL) + 64


class NpzError(UserError, ValueError):
    """An npz file that is torn, damaged or foreign; the message says how."""


def save_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Writes `arrays` by name to `path`, compressed, with a checksum."""
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)  # pyright: ignore[reportArgumentType]
    with zipfile.ZipFile(memory, "a") as archive:
        archive.comment = bytes(_COMMENT_LENGTH)  # Its length stands before it, and counts.
    content = memory.getvalue()[:-_COMMENT_LENGTH]
    with written_whole(path) as temporary:
        temporary.write_bytes(content + _comment(content))


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Every array of a file by name.

    Files of `save_npz` are held to their checksum, so that any damage is found. Others, those of earlier
    versions among them, are held to zip's checksums of each array and its header.

    Raises:
        NpzError: it cannot be read, is no archive of arrays, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.namelist()
            if archive.comment:
                if archive.comment != _comment(content[: -len(archive.comment)]):
                    raise NpzError("its bytes do not have the checksum that it states")
            elif len(members) != _stated_count(content):
                raise NpzError(f"its index has {len(members)} of {_stated_count(content)} arrays")
            if len(set(members)) != len(members):
                raise NpzError(f"it has two arrays of one name among {', '.join(members)}")
            return {name.removesuffix(".npy"): read_array(archive, name) for name in members}
    except NpzError:
        raise
    # NumPy, zipfile and zlib have no error in common.
    except Exception as error:
        raise NpzError(f"{type(error).__name__}: {error}") from error


def read_array(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """One member of an open archive, read to its end: only there are checksums compared.

    What NumPy, zipfile and zlib raise at torn, damaged and foreign members varies.

    Raises:
        NpzError: there is more in it than one array.
    """
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise NpzError(f"{member} is longer than its array")
    return array


def _stated_count(content: bytes) -> int:
    """How many members an archive without a comment says that it has; zipfile does not look at it."""
    return int.from_bytes(content[-12:-10], "little")


def _comment(content: bytes) -> bytes:
    return _LABEL + hashlib.sha256(content).hexdigest().encode()
