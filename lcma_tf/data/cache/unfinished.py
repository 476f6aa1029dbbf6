"""Arrays of a set on their way to the disk, so that an interrupted decoding goes on where it was.

Images are written in blocks, and each block has a line in a log once it is on the disk: what the log
does not know of is not there.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from lcma_tf.data.cache.file_sink import HEADER, FileSink, refusals_named, size_of, to_disk
from lcma_tf.data.cache.filling import Filling, Sink

__all__ = ["Unfinished"]

_LOG = "log.jsonl"


class Unfinished(Filling):
    """The folder of a set that is being decoded; begun, or gone on with.

    Raises:
        SaveError: here and below, the file system refuses.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        with refusals_named(folder):
            folder.mkdir(exist_ok=True)
            try:
                self._arrays = _read_log(folder)
            except (ValueError, KeyError, TypeError):  # It was damaged: all is decoded.
                self.forget()
        lines = [line for blocks in self._arrays.values() for line in blocks]
        self.state = max(lines, key=lambda line: line["number"])["state"] if lines else None
        self._number = 1 + max((line["number"] for line in lines), default=0)

    @contextlib.contextmanager
    def array(
        self, name: str, count: int | None, state: Callable[[], Any] | None = None
    ) -> Iterator[Sink]:
        path, blocks = self._folder / f"{name}.npy", self._arrays.setdefault(name, [])
        with contextlib.ExitStack() as opened:
            with refusals_named(self._folder):
                mode = "r+b" if path.exists() else "w+b"
                file = opened.enter_context(open(path, mode, buffering=0))

            def log(line: dict[str, Any]) -> None:
                line |= {"number": self._number, "state": state() if state else None}
                with open(self._folder / _LOG, "a") as lines:
                    lines.write(json.dumps({"array": name, **line}) + "\n")
                    to_disk(lines)
                self._number += 1
                _add(blocks, line)

            sink = FileSink(file, blocks, count, log)
            if sink.is_whole:
                yield sink
                return
            try:
                yield sink
            except BaseException:
                with contextlib.suppress(OSError):  # The first error says more.
                    sink.save()
                raise
            sink.finish()

    def forget(self) -> None:
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        self._arrays, self._number, self.state = {}, 1, None

    def finish(self) -> dict[str, dict[str, Any]]:
        """By name what an entry states of each array, now that all are whole; removes the log."""
        stated = {}
        for name, blocks in self._arrays.items():
            first = blocks[0]
            stated[name] = {
                "shape": [sum(block["rows"] for block in blocks), *first["shape"]],
                "dtype": first["dtype"],
                "digests": [block["digest"] for block in blocks if block["rows"]],
            }
        (self._folder / _LOG).unlink()
        return stated


def _read_log(folder: pathlib.Path) -> dict[str, list[dict]]:
    """The blocks of each array by name, in order; a last line that was cut short is none.

    Raises:
        ValueError, KeyError, TypeError: it is no such log, or an array is shorter than it says.
    """
    path = folder / _LOG
    arrays: dict[str, list[dict]] = {}
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    for line in whole:
        block = json.loads(line)
        _add(arrays.setdefault(block.pop("array"), []), block)
    if whole != lines:
        path.write_bytes(b"".join(whole))
    for name, blocks in arrays.items():
        filled = sum(size_of(block) for block in blocks)
        if filled and (folder / f"{name}.npy").stat().st_size < HEADER + filled:
            raise ValueError(f"{name}.npy is shorter than {_LOG} says")
    return arrays


def _add(blocks: list[dict], block: dict) -> None:
    """A block that begins where the last one did is more of it."""
    if blocks and blocks[-1]["start"] == block["start"]:
        blocks.pop()
    blocks.append(block)
