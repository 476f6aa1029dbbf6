"""Version folders as TensorFlow Serving reads them: a new one appears whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lcma_tf.errors import UserError

__all__ = ["NewVersion", "PublishError", "check_export_dir", "new_version", "versions"]

# What the server takes for a version: the whole name parses as an integer, whatever lies behind it.
_VERSION = re.compile(r"[+-]?[0-9]+")
# No integer, so the server passes it by.
_TEMPORARY = ".incoming-"


class PublishError(UserError, ValueError):
    """A place where nothing can be published."""


class NewVersion:
    """A version in the making.

    Attributes:
        path: where its files are; the version itself once it is published.
        number: of the version; None until then.
    """

    def __init__(self, path: Path):
        self.path = path
        self.number: int | None = None


@contextlib.contextmanager
def new_version(export_dir: str | os.PathLike[str]) -> Iterator[NewVersion]:
    """A folder to fill, on the file system of `export_dir`; leaving the block publishes it.

    It is then written through to the disk, made readable for all (the server is another user) and
    renamed to the next free integer: never onto a name that exists. An exception, Ctrl-C included,
    removes it instead; older versions are not touched. A kill leaves a `.incoming-*` folder, which no
    server reads and which may be deleted.

    Args:
        export_dir: base path of one served model; made if it is not there.

    Raises:
        PublishError: it cannot be made or written to.
    """
    base = Path(export_dir)
    check_export_dir(base)
    try:
        base.mkdir(parents=True, exist_ok=True)
        incoming = NewVersion(Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=base)))
    except OSError as error:
        raise PublishError(
            f"`export_dir` must be a folder that can be made and written to; got {str(base)!r}: "
            f"{error.strerror}."
        ) from error
    try:
        yield incoming
        _make_durable(incoming.path)
        incoming.number, incoming.path = _rename_to_next(incoming.path, base)
        _sync(base)
    finally:
        if incoming.number is None:
            shutil.rmtree(incoming.path, ignore_errors=True)


def check_export_dir(export_dir: str | os.PathLike[str]) -> None:
    """Raises `PublishError` where `new_version` could not succeed; writes nothing."""
    if not os.fspath(export_dir):
        raise PublishError("`export_dir` must be the path of a folder; got ''.")
    path = Path(export_dir)
    nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise PublishError(
            "`export_dir` must be a folder that can be made and written to; "
            f"got {str(path)!r}, and {str(nearest)!r} is none."
        )


def versions(export_dir: str | os.PathLike[str]) -> list[int]:
    """The numbers that are taken, in order: of everything that a server would look at."""
    names = (entry.name for entry in Path(export_dir).iterdir())
    return sorted(int(name) for name in names if _VERSION.fullmatch(name))


def _rename_to_next(path: Path, base: Path) -> tuple[int, Path]:
    while True:
        number = max(0, *versions(base), 0) + 1
        target = base / str(number)
        # A rename onto an empty folder would succeed silently; `versions` has seen that there is none.
        try:
            os.rename(path, target)
        except OSError as error:
            # Another exporter was faster: the next number, then.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            continue
        return number, target


def _make_durable(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            os.chmod(path, 0o644)
            _sync(path)
        os.chmod(folder, 0o755)
        _sync(folder)


def _sync(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
