"""The rows of an output that is not finished: a file that only grows, batch by batch.

Its first line is what was asked, its second names the columns, and each further one is a row. A kill
leaves whole batches and at most a torn one behind them, which is cut off and scored again: in batches
that begin where they did before, so that the last digits are the same, too.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from lcma_tf.batch.errors import BatchError
from lcma_tf.files.saving import refusals_named

__all__ = ["Partial", "as_line", "differing"]

_HEADER_LINES = 2


def as_line(values: Sequence[str]) -> str:
    """A row of a CSV file in one line, whatever is in the values."""
    text = io.StringIO()
    one_line = [value.replace("\r", "\\r").replace("\n", "\\n") for value in values]
    csv.writer(text, lineterminator="\n").writerow(one_line)
    return text.getvalue()


def differing(there: object, now: Mapping[str, Any]) -> list[str]:
    """The names of what was asked before, and is asked otherwise now."""
    known = there if isinstance(there, dict) else {}
    return [name for name in sorted({*known, *now}) if known.get(name) != now.get(name)]


class Partial:
    """The rows so far.

    Args:
        path: of the file; it need not be there.
        asked: all that the rows depend on, as JSON has it.
        columns: their names.
        batch_size: rows that are added together.
    """

    def __init__(
        self,
        path: pathlib.Path,
        asked: Mapping[str, Any],
        columns: Sequence[str],
        batch_size: int,
    ):
        self._path, self._asked, self._columns = path, asked, columns
        self._batch_size = batch_size
        self._file: IO[bytes] | None = None

    def open(self, num_rows: int) -> int:
        """Opens it for adding; returns how many rows are there, of `num_rows` all together.

        Raises:
            BatchError: it is that of something else that was asked.
            SaveError: the file system refuses.
        """
        with refusals_named(self._path):
            self._file = open(self._path, "r+b" if self._path.exists() else "w+b")  # noqa: SIM115
        first = self._file.readline()
        if not first.endswith(b"\n"):  # Nothing, or torn.
            self._file.seek(0)
            self._file.truncate()
            header = json.dumps(self._asked) + "\n" + as_line(self._columns)
            self.add([header])
            return 0
        try:
            there = json.loads(first)
        except ValueError:
            there = None
        if there is None or (other := differing(there, self._asked)):
            told = "it is none of these" if there is None else f"another {', '.join(other)}"
            raise BatchError(
                "`output` must be new, or begun with the same input, flow and flags; "
                f"{str(self._path)!r} was not: {told}. Delete it, or name another output."
            )
        if self._file.readline() != as_line(self._columns).encode():  # Torn behind the first line.
            self._file.seek(len(first))
            self._file.truncate()
            self.add([as_line(self._columns)])
            return 0
        return self._cut(num_rows)

    def _cut(self, num_rows: int) -> int:
        """Cuts off what is behind the last whole batch; returns how many rows are left."""
        assert self._file is not None
        rows = kept = 0
        end = position = self._file.tell()
        for line in self._file:
            if not self._is_whole(line) or rows == num_rows:
                break
            rows, position = rows + 1, position + len(line)
            if rows % self._batch_size == 0 or rows == num_rows:
                kept, end = rows, position
        self._file.seek(end)
        self._file.truncate()
        return kept

    def _is_whole(self, line: bytes) -> bool:
        """After a loss of power there may be anything where the last batch was not on the disk yet."""
        if not line.endswith(b"\n") or b"\0" in line:
            return False
        try:
            (values,) = csv.reader([line.decode()])
        except (ValueError, csv.Error):
            return False
        return len(values) == len(self._columns)

    def add(self, lines: Sequence[str]) -> None:
        """Adds the lines of a batch; they are on the disk when it returns.

        Raises:
            SaveError: the file system refuses; the rows before are kept.
        """
        assert self._file is not None
        with refusals_named(self._path):
            self._file.write("".join(lines).encode())
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def lines(self) -> Iterator[str]:
        """Every row, as it was added."""
        with open(self._path, encoding="utf-8", newline="") as file:
            yield from itertools.islice(file, _HEADER_LINES, None)
