"""What tells a source from others without reading it: what was asked for, files' names, sizes, times."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["digest_of_values", "identity_of_files", "identity_of_folder"]


def identity_of_files(root: str | os.PathLike[str], files: Iterable[str]) -> dict[str, Any]:
    """Of `files`, relative to `root`, in their order: how many, their bytes, and a digest of the list.

    The list has each name, size and time of the last change, in nanoseconds; what cannot be looked at,
    such as a link that leads nowhere, has neither.
    """
    root, digest = os.fspath(root), hashlib.blake2b(digest_size=16)
    count = size = 0
    for file in files:
        try:
            found = os.stat(os.path.join(root, file))
            told = f"{found.st_size} {found.st_mtime_ns}"
            size += found.st_size
        except OSError:
            told = "-"
        digest.update(f"{told} {file}\0".encode("utf-8", "surrogateescape"))
        count += 1
    return {"files": count, "bytes": size, "listing": digest.hexdigest()}


def identity_of_folder(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """`identity_of_files` of all files below a folder, or of a file by itself."""
    top = pathlib.Path(folder)
    if not top.is_dir():
        return identity_of_files(top.parent, [top.name])
    found = (os.path.join(where, name) for where, _, names in os.walk(top) for name in names)
    return identity_of_files(top, sorted(os.path.relpath(file, top) for file in found))


def digest_of_values(values: Mapping[str, Any]) -> str:
    """Of values such as JSON can hold, in whatever order."""
    text = json.dumps(values, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()
