"""Files written whole or not at all: a kill leaves the old file or the new one, never half of one.

What is written goes beside its place first, then to the disk, then by one rename to its place: so that
neither a kill, an error, a full disk nor a loss of power leaves a file under its name that is not whole.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

from lcma_tf.errors import UserError
from lcma_tf.files.paths import path_text

__all__ = [
    "NO_ROOM",
    "SaveError",
    "refusal_to_write",
    "refusals_named",
    "unfinished",
    "write_json",
    "write_whole",
    "written_whole",
]

# What a file system answers that cannot bring a folder to the disk by itself.
_NO_FOLDER_SYNC = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP)
# How it says that there is no room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SaveError(UserError, OSError):
    """A file could not be written; the one that was there before is kept."""


def unfinished(path: str | os.PathLike[str]) -> pathlib.Path:
    """Where `path` is written before it is whole: beside it, and with its suffix."""
    path = pathlib.Path(path_text("path", path))
    return path.with_name(f"unfinished_{path.name}")


@contextlib.contextmanager
def written_whole(
    path: str | os.PathLike[str], before: str | os.PathLike[str] | None = None
) -> Iterator[pathlib.Path]:
    """Gives a path to write to; what is there when the block ends without an error becomes `path`.

    Args:
        before: where the file that is at `path` now goes, by rename: no room is needed for it.

    Raises:
        SaveError: the file system refuses; nothing unfinished is left.
    """
    temporary = unfinished(path)
    with refusals_named(path):
        try:
            yield temporary
            _to_disk(temporary)
            if before is not None and os.path.exists(path):
                os.replace(path, before)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _folder_to_disk(temporary.parent)


def write_whole(
    path: str | os.PathLike[str],
    *parts: bytes | memoryview,
    before: str | os.PathLike[str] | None = None,
) -> None:
    """Writes `parts`, one after the other, as `written_whole` does."""
    with written_whole(path, before) as temporary, open(temporary, "wb") as file:
        for part in parts:
            file.write(part)


def refusal_to_write(path: str | os.PathLike[str]) -> str | None:
    """What the file system has against a file at `path`; None = nothing that can be tried before.

    A nameless file is made where it would lie, or, where its folders are yet to be made, above them: no
    permissions tell of a read-only disk or /proc. Nothing is left.
    """
    above = pathlib.Path(path).absolute().parents
    try:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(unfinished(path))  # Whether such a name can be.
        tempfile.TemporaryFile(dir=next(filter(os.path.exists, above))).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


@contextlib.contextmanager
def refusals_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises `SaveError`, which names `path`, where the file system refuses to write it."""
    ours = {None, os.fspath(path), os.fspath(unfinished(path))}  # A write names no file.
    try:
        yield
    except SaveError:
        raise
    except OSError as error:
        if (error.filename and os.fsdecode(error.filename)) not in ours:
            raise  # Of another file, which is read for this one.
        cure = "make room" if error.errno in NO_ROOM else "see that it can be written"
        raise SaveError(
            f"{os.fspath(path)!r} must be written, and the file system refuses: "
            f"{error.strerror or error}. What was saved before is kept; {cure} and run the same again."
        ) from error


def _to_disk(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder_to_disk(folder: pathlib.Path) -> None:
    """Makes a rename in it last."""
    try:
        _to_disk(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def write_json(path: str | os.PathLike[str], values: Any) -> None:
    """Writes `values`, such as JSON can hold, whole or not at all.

    Raises:
        SaveError: the file system refuses; what was at `path` is kept.
    """
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
