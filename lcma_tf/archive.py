"""Files written whole or not at all: a kill leaves the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

__all__ = ["unfinished", "written_whole"]


def unfinished(path: str | os.PathLike[str]) -> pathlib.Path:
    """Where `path` is written before it is whole: beside it, and with its suffix."""
    path = pathlib.Path(path)
    return path.with_name(f"unfinished_{path.name}")


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Gives a path to write to; what is there when the block ends without an error becomes `path`."""
    temporary = unfinished(path)
    yield temporary
    os.replace(temporary, path)
