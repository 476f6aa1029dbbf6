"""The image files below folders: nothing left out in silence, and no folder read twice.

Links to folders are followed, after all real folders: a file keeps the name that it has without them,
and a link back up, or a second one to the same place, adds nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras

from lcma_tf.data.image_data import DataError
from lcma_tf.files.paths import printable

__all__ = ["SUFFIXES", "relative_names", "walk"]

SUFFIXES = (".png", ".jpg", ".jpeg")
_SECONDS = 2.0  # What takes no longer is not shown.


def relative_names(folder: Path) -> Callable[[Path], str]:
    """A function of a path below `folder`: its name relative to it, with slashes.

    Several times as fast as `relative_to`, for those who have a million of them.
    """
    start = len(str(folder / "_")) - 1
    return lambda file: str(file)[start:].replace(os.sep, "/")


def walk(
    name: str, folders: Sequence[Path], above: Path | None = None
) -> tuple[list[list[Path]], Counter[str]]:
    """For each folder the files with a suffix of `SUFFIXES` below it, in order of their relative names.

    Beside them, how many other files there are, by suffix; of hidden files nothing is said.

    Whatever has the suffix and is no folder is listed, links that lead nowhere too: reading it fails.

    Args:
        name: of the data set, opens error messages.
        folders: real folders below each are read; then links, but for what was read before.
        above: a folder that is not read where a link leads to it.

    Raises:
        DataError: a folder that cannot be read, or a link without a suffix that leads nowhere.
    """
    entered = set() if above is None else {_identity(name, above)}
    skipped: Counter[str] = Counter()
    progress = _Progress()
    found = []
    for folder in folders:
        of_folder = set()  # Folders that the user names are read whatever the others hold.
        found.append(_files_below(name, folder, of_folder, skipped, progress))
        entered |= of_folder
    pending = [(files, link) for files, links in found for link in links]
    while pending:
        deeper = []
        for files, link in pending:
            below, links = _files_below(name, link, entered, skipped, progress)
            files.extend(below)
            deeper.extend((files, further) for further in links)
        pending = deeper
    progress.end()
    in_order = [
        sorted(files, key=relative_names(folder))
        for folder, (files, _) in zip(folders, found, strict=True)
    ]
    return in_order, skipped


class _Progress:
    """A bar that counts the files of folders that take long to walk."""

    def __init__(self):
        self._count, self._begun = 0, time.monotonic()
        self._bar: keras.utils.Progbar | None = None

    def add(self, count: int) -> None:
        self._count += count
        if self._bar is None and time.monotonic() - self._begun > _SECONDS:
            self._bar = keras.utils.Progbar(None, interval=1.0, unit_name="file")
        if self._bar is not None:
            self._bar.update(self._count)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.update(self._count, finalize=True)


def _files_below(
    name: str,
    top: Path,
    entered: set[tuple[int, int]],
    skipped: Counter[str],
    progress: _Progress,
) -> tuple[list[Path], list[Path]]:
    """Image files, and links to folders, in `top` and in the real folders below it.

    What is in `entered` already is left out; what is read is added, other files to `skipped`, and how
    many entries there were to `progress`.
    """
    files, links, left = [], [], [top]
    while left:
        folder = left.pop()
        identity = _identity(name, folder)
        if identity in entered:
            continue
        entered.add(identity)
        entries = _entries(name, folder)
        progress.add(len(entries))
        for entry in entries:
            path = folder / entry.name
            with _reading(name, path):
                is_folder = entry.is_dir()
                if not is_folder and entry.is_symlink() and not path.suffix:
                    os.stat(path)  # It may have been to a folder of images: it must not be missed.
            if is_folder:
                (links if entry.is_symlink() else left).append(path)
            elif path.suffix.lower() in SUFFIXES:
                files.append(path)
            elif not entry.name.startswith("."):
                skipped[path.suffix.lower()] += 1
    return files, sorted(links)


def _entries(name: str, folder: Path) -> list[os.DirEntry]:
    with _reading(name, folder), os.scandir(folder) as entries:
        return list(entries)


def _identity(name: str, folder: Path) -> tuple[int, int]:
    with _reading(name, folder):
        found = os.stat(folder)
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _reading(name: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{name}: every folder and link below it must be readable; {printable(path)} is not: "
            f"{error.strerror}"
        ) from error
