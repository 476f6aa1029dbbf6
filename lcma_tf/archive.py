"""Arrays in one npz file, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["save_npz"]


def save_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Writes `arrays` by name to `path`, compressed."""
    temporary = f"{os.fspath(path)}.tmp"
    with open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    os.replace(temporary, path)  # A kill leaves the old file or the new one, never half of one.
