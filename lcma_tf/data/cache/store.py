"""Where decoded images are: in memory, or in a folder that processes and runs share."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from lcma_tf.data.cache.entry import DamagedEntryError, Entry, write_statement
from lcma_tf.data.cache.file_sink import refusals_named
from lcma_tf.data.cache.filling import Filling, MemoryFilling
from lcma_tf.data.cache.identity import digest_of_values
from lcma_tf.data.cache.unfinished import Unfinished
from lcma_tf.errors import UserError
from lcma_tf.files.folder_lock import folder_lock
from lcma_tf.files.paths import printable
from lcma_tf.files.saving import SaveError
from lcma_tf.say import say

__all__ = ["MEMORY", "DiskStore", "MemoryStore", "Store", "Stored", "open_store"]

_VERSION = 1  # Of the files, and of what sources make of theirs: other pixels are another version.
_POLL_SECONDS = 0.5

Fill = Callable[[Filling], Any]


class Stored(NamedTuple):
    """Arrays by name, and what `fill` returned: such as JSON can hold."""

    arrays: dict[str, np.ndarray]
    notes: Any


class Store(Protocol):
    """Holds what a source decodes."""

    def arrays(
        self, name: str, asked: Mapping[str, Any], source: Mapping[str, Any], fill: Fill
    ) -> Stored:
        """The arrays that `fill` makes, or made before of the same source.

        Args:
            name: of the data set.
            asked: what decides the pixels beside the files: options, by name.
            source: what tells the files from others, without reading them; as `asked`, for JSON.
            fill: decodes into a `Filling`.

        Raises:
            SaveError: the file system refuses; nothing half-written is left.
        """
        ...

    def known(self, images: np.ndarray) -> dict[str, Any] | None:
        """`fingerprint_of_images` of what is on the disk, where most of it is kept; None: it is not."""
        ...

    def origin(self, images: np.ndarray) -> str:
        """A name for what was asked for when `images` were decoded; empty: they are not on the disk."""
        ...


class MemoryStore:
    """Holds them in main memory, for the caller alone."""

    def arrays(
        self, name: str, asked: Mapping[str, Any], source: Mapping[str, Any], fill: Fill
    ) -> Stored:
        del name, asked, source
        filling = MemoryFilling()
        notes = fill(filling)
        return Stored(filling.arrays, notes)

    def known(self, images: np.ndarray) -> dict[str, Any] | None:
        del images
        return None

    def origin(self, images: np.ndarray) -> str:
        del images
        return ""


MEMORY = MemoryStore()


class DiskStore:
    """Holds them in a folder for each set, in .npy files that are mapped, not read.

    Args:
        folder: made if it is not there.

    Raises:
        SaveError: it cannot be made.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._opened: list[Entry] = []
        with refusals_named(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def arrays(
        self, name: str, asked: Mapping[str, Any], source: Mapping[str, Any], fill: Fill
    ) -> Stored:
        kind = name.partition(":")[0]  # A path is in `asked`, from the root.
        known = {"kind": kind, "asked": dict(asked), "version": _VERSION}
        label = re.sub(r"[^A-Za-z0-9]+", "_", kind)[:40]
        which = f"{label}-{digest_of_values(known)[:12]}"  # Of whatever content.
        known["source"] = dict(source)
        key = f"{which}-{digest_of_values(known)[:16]}"
        entry = self._entry(key)
        if entry is None:
            with self._locked(which) as is_locked:
                entry = self._entry(key)
                if entry is None and not is_locked:
                    say(f"data: {self._folder} has no locks, so that {name} is held in memory")
                    return MEMORY.arrays(name, asked, source, fill)
                if entry is None:
                    self._remove(which, but=key)
                    entry = self._made(key, known, fill)
        self._opened.append(entry)
        return Stored(dict(entry.arrays), entry.notes)

    def known(self, images: np.ndarray) -> dict[str, Any] | None:
        found = (entry.fingerprint(images) for entry in self._opened)
        return next((fingerprint for fingerprint in found if fingerprint is not None), None)

    def origin(self, images: np.ndarray) -> str:
        return next((entry.origin for entry in self._opened if entry.holds(images)), "")

    def _entry(self, key: str) -> Entry | None:
        try:
            return Entry(self._folder / key)
        except FileNotFoundError:
            return None
        except DamagedEntryError as damage:
            say(f"data: {self._folder / key} is damaged ({damage}); it is made anew")
            aside = self._folder / f"damaged_{key}_{os.getpid()}"
            with refusals_named(self._folder), contextlib.suppress(FileNotFoundError):
                os.rename(self._folder / key, aside)  # Once, whoever else has found it, too.
                shutil.rmtree(aside)
            return None

    def _made(self, key: str, known: Mapping[str, Any], fill: Fill) -> Entry:
        folder = self._folder / f"unfinished_{key}"
        try:
            filling = Unfinished(folder)
            if filling.state is not None or any(folder.glob("*.npy")):
                say(f"data: decoding goes on where it was, in {printable(folder)}")
            notes = fill(filling)
            with refusals_named(self._folder):
                write_statement(folder, {**known, "notes": notes, "arrays": filling.finish()})
                os.rename(folder, self._folder / key)
        except (UserError, OSError):  # What an interruption leaves is gone on with.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        place = printable(self._folder / key)
        try:
            entry = Entry(self._folder / key)
        except DamagedEntryError as damage:
            raise SaveError(
                f"What was written into {place!r} is not what is read: {damage}."
            ) from damage
        say(f"data: decoded pixels, {entry.nbytes / 1e6:,.1f} MB, are kept in {place}")
        return entry

    def _remove(self, which: str, but: str) -> None:
        """What was made of the same images before they changed; whoever has it open keeps it."""
        for prefix in ("", "unfinished_", "damaged_"):
            for path in self._folder.glob(f"{prefix}{which}-*"):
                if path.name != f"unfinished_{but}":
                    shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, which: str) -> Iterator[bool]:
        """Waits for other processes that decode the same; whether the file system has locks."""
        path, is_told = self._folder / f"{which}.lock", False
        with contextlib.ExitStack() as held:
            while True:
                try:
                    with refusals_named(self._folder):
                        is_locked = held.enter_context(folder_lock(path))
                    break
                except BlockingIOError:
                    if not is_told:
                        say("data: another process decodes the same images; this one waits for it")
                    is_told = True
                    time.sleep(_POLL_SECONDS)
            yield is_locked


def open_store(folder: str | os.PathLike[str] | None) -> Store:
    """Where decoded images are kept.

    Args:
        folder: `~` is expanded; None = `lcma_tf` below `XDG_CACHE_HOME`, or below `~/.cache`; that is
            done without where it cannot be made. The empty text = in memory.

    Raises:
        SaveError: a folder that is named cannot be made.
    """
    if folder is not None:
        path = os.path.expanduser(folder)
        return DiskStore(pathlib.Path(os.path.abspath(path))) if path else MEMORY
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    try:
        return DiskStore(pathlib.Path(os.path.expanduser(home), "lcma_tf"))
    except SaveError:
        return MEMORY
