"""The PNG and JPEG files of a folder, or the files that a pattern matches: listed, not loaded."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.rows import Row
from lcma_tf.data.sources.folder_reader import skipped_by_suffix
from lcma_tf.data.sources.folder_walk import relative_names, walk
from lcma_tf.files.paths import expanded, printable

__all__ = ["open_folder"]


class _Files:
    """Files in order of their names relative to `root`; each is opened by whoever decodes it."""

    def __init__(self, root: Path, files: Sequence[Path], note: str):
        self._name_of, self._files, self.note = relative_names(root), files, note
        self.digest = _digest(root, files)

    def __len__(self) -> int:
        return len(self._files)

    def read(self, start: int) -> Iterator[Row]:
        for file in self._files[start:]:
            yield Row(self._name_of(file), file)


def open_folder(name: str, data_dir: str | None = None, without: Collection[str] = ()) -> _Files:
    """The files below the folder `name` by their suffixes, or all that the pattern `name` matches.

    A folder is walked as the data set `image_folder` is. `**` in a pattern stands for any folders; names
    are relative to the folder before its first wildcard. What is in `without`, absolute paths, is left
    out.

    Raises:
        BatchError: there is neither such a folder nor a match.
        DataError: a folder below it cannot be read.
    """
    del data_dir  # The name says it all.
    path = expanded(name)
    if path and os.path.isdir(path):
        root = Path(path)
        (files,), skipped = walk(printable(path), [root])
        return _Files(root, _others(files, without), skipped_by_suffix(skipped))
    found = sorted(file for file in glob.glob(path, recursive=True) if os.path.isfile(file))
    if not found:
        raise BatchError(
            f"`input` must be an existing folder, or a pattern that files match; got {printable(name)!r}"
        )
    root = _before_wildcards(path)
    files = sorted(map(Path, found), key=relative_names(root))
    return _Files(root, _others(files, without), "")


def _others(files: Iterable[Path], without: Collection[str]) -> list[Path]:
    return [file for file in files if os.path.abspath(file) not in without]


def _before_wildcards(pattern: str) -> Path:
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:fixed])


def _digest(root: Path, files: Sequence[Path]) -> str:
    """Of names, sizes and times of the last change: a file that was changed is another one."""
    digest, name_of = hashlib.blake2b(digest_size=16), relative_names(root)
    for file in files:
        try:
            found = os.stat(file)
            state = (found.st_size, found.st_mtime_ns)
        except OSError:  # A link to nowhere: its row says so.
            state = None
        text = repr((name_of(file), state))
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
