"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

__all__ = ["folder_lock"]


@contextlib.contextmanager
def folder_lock(path: pathlib.Path) -> Iterator[bool]:
    """Holds the lock file `path` for the block; the system lets it go when the process ends, however.

    Yields:
        Whether it is held; False where the file system has no locks.

    Raises:
        BlockingIOError: another process, or another block of this one, holds it.
        OSError: it can be neither made nor opened.
    """
    # It stays where it is: to remove it would let two in, one by the old file and one by the new.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        is_held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            is_held = False
        yield is_held
    finally:
        os.close(descriptor)
