"""The files of one output: the table, and what lies beside it."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from lcma_tf.files.saving import unfinished

__all__ = ["note_path", "own_files", "partial_path", "read_note", "top_path"]


def note_path(output: pathlib.Path) -> pathlib.Path:
    """Where it is kept what `output` is of: a small file beside it."""
    return output.with_name(f"{output.name}.json")


def partial_path(output: pathlib.Path) -> pathlib.Path:
    """Where the rows of `output` are gathered."""
    return output.with_name(f"{output.name}.partial")


def top_path(output: pathlib.Path) -> pathlib.Path:
    """Where the sheet of `output` goes."""
    return output.with_name(f"{output.stem}_top.png")


def own_files(output: pathlib.Path) -> frozenset[str]:
    """Absolute paths of all that scoring into `output` writes: what is no input of it."""
    paths = (output, note_path(output), partial_path(output), top_path(output))
    return frozenset(os.path.abspath(own) for path in paths for own in (path, unfinished(path)))


def read_note(output: pathlib.Path) -> dict[str, Any]:
    """What is noted of `output`; {} = nothing that can be read."""
    try:
        note = json.loads(note_path(output).read_text())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
