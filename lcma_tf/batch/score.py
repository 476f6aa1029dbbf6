"""All rows of an input into one table, whole or not at all; stopped anywhere, it goes on from there."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import keras

from lcma_tf.batch.batches import Batch, batches, one_ahead
from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.output_files import note_path, partial_path, read_note
from lcma_tf.batch.partial import Partial, as_line, differing
from lcma_tf.batch.pictures import REFUSE, Pictures
from lcma_tf.batch.rows import Rows
from lcma_tf.batch.scorer import ScoredRow, Scorer
from lcma_tf.batch.tables import ERROR, NAME, Table
from lcma_tf.choices import TABLES
from lcma_tf.files.folder_lock import folder_lock
from lcma_tf.files.saving import refusal_to_write, refusals_named, write_json

__all__ = ["Job", "Summary", "table_for"]

_FORMAT_VERSION = 1


class Summary(NamedTuple):
    """What came out.

    Args:
        scored, failed: rows with and without scores.
        was_there: whether the output was complete already.
    """

    scored: int
    failed: int
    was_there: bool


def table_for(output: pathlib.Path) -> Table:
    """The kind of file that `output` is by its name.

    Raises:
        BatchError: there is no such kind, or it cannot be written there.
        MissingExtraError: a package that writes it is not installed.
    """
    if output.suffix not in TABLES:
        raise BatchError(f"`output` must end in {' or '.join(TABLES)}; got {str(output)!r}")
    if output.is_dir() or not output.parent.is_dir():
        raise BatchError(f"`output` must be a file in an existing folder; got {str(output)!r}")
    if (refusal := refusal_to_write(output)) is not None:
        raise BatchError(
            f"`output` must be a file that can be written ({refusal}); got {str(output)!r}"
        )
    table = TABLES[output.suffix]()
    table.check()
    return table


class Job:
    """One input, scored into one output: `run`.

    While it runs the rows are gathered in `<output>.partial`, whole batches only; in the end they become
    `<output>` by one rename, with `<output>.json` beside it, which says what was asked.

    Args:
        rows: the input.
        scorer: scores a batch.
        output: a file with an ending of `lcma_tf.choices.TABLES`.
        batch_size: images a pass.
        resize: of `Pictures`.

    Raises:
        BatchError: `table_for`, or `Pictures`.
    """

    def __init__(
        self,
        rows: Rows,
        scorer: Scorer,
        output: pathlib.Path,
        *,
        batch_size: int = 64,
        resize: str = REFUSE,
    ):
        self.rows, self.scorer, self.output = rows, scorer, output
        self.table = table_for(output)
        self.pictures = Pictures(scorer.original_shape, scorer.image_shape, resize)
        self.batch_size = batch_size
        self._columns: dict[str, type] = {NAME: str, **scorer.columns, ERROR: str}
        self._asked: dict[str, Any] = {
            "format_version": _FORMAT_VERSION,
            "input": rows.digest,
            "rows": len(rows),
            **scorer.asked,
            "batch_size": batch_size,
            "resize": resize,
            "columns": [*self._columns],
        }

    def run(self, verbose: bool = True) -> Summary:
        """Scores what is not scored yet, and writes the output.

        Raises:
            BatchError: the output, or what is there of it, is of something else; another process is at
                work on it; or reading the input fails.
            SaveError: the file system refuses; what was saved before is kept.
        """
        with self._locked():
            if (summary := self._complete()) is not None:
                return summary
            partial = Partial(
                partial_path(self.output), self._asked, [*self._columns], self.batch_size
            )
            with contextlib.closing(partial):
                self._add_rows(partial, verbose)
            failed = sum(not line.endswith(",\n") for line in partial.lines())  # The error is last.
            summary = Summary(len(self.rows) - failed, failed, was_there=False)
            self._write(partial, summary)
        return summary

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from the output; the file that is locked is that of the rows so far."""
        path = partial_path(self.output)
        with contextlib.ExitStack() as held:
            with refusals_named(path):
                try:
                    held.enter_context(folder_lock(path))
                except BlockingIOError as error:
                    raise BatchError(
                        "`output` must not be in use; another process is at work on "
                        f"{str(self.output)!r}"
                    ) from error
            try:
                yield
            finally:
                if path.exists() and path.stat().st_size == 0:  # Of no row.
                    path.unlink()

    def _complete(self) -> Summary | None:
        """What the output says if it is there; None = it is not."""
        if not self.output.exists():
            self._check_note()
            return None
        note = read_note(self.output)
        try:
            other = differing(note["asked"], self._asked)
            summary = Summary(int(note["scored"]), int(note["failed"]), was_there=True)
        except (KeyError, TypeError, ValueError):
            other = [f"what it is of is not known without its {self.output.name}.json"]
            summary = None
        if summary is None or other:
            told = other[0] if summary is None else f"another {', '.join(other)}"
            raise BatchError(
                "`output` must be new, or of the same input, flow and flags; "
                f"{str(self.output)!r} is not: {told}. Delete it, or name another output."
            )
        # A kill may have come before the digest, and earlier versions noted none.
        if note.get("digest", digest := _digest_of(self.output)) != digest:
            raise BatchError(
                f"`output` must be as it was written; {str(self.output)!r} was changed since. Delete "
                "it, or name another output."
            )
        partial_path(self.output).unlink(missing_ok=True)  # A kill came between.
        return summary

    def _check_note(self) -> None:
        """Raises `BatchError` if what is to be overwritten beside the output is not of a scoring."""
        path = note_path(self.output)
        if path.exists() and "asked" not in read_note(self.output):
            raise BatchError(
                f"`output` must leave what is there; {str(path)!r} would become its note, and is none. "
                "Move it, or name another output."
            )

    def _add_rows(self, partial: Partial, verbose: bool) -> None:
        count = len(self.rows)
        done = partial.open(count)
        bar = keras.utils.Progbar(count, unit_name="image", verbose=int(verbose))
        if done:
            bar.add(done)
        found = batches(self.rows, done, self.batch_size, self.pictures)
        # The next are scored while the lines of one get to the disk.
        for batch, rows in one_ahead(self._scored, found):
            partial.add(self._lines(batch, rows))
            bar.add(len(rows))
            done += len(rows)
        if done != count:
            raise BatchError(
                f"`input` must not change while it is read; it had {count} rows, now {done}"
            )

    def _scored(self, batch: Batch) -> tuple[Batch, list[ScoredRow]]:
        return batch, [*self.scorer.rows(batch.images, batch.errors)]

    def _lines(self, batch: Batch, rows: Iterable[ScoredRow]) -> list[str]:
        missing = [""] * len(self.scorer.columns)
        return [
            as_line([_text(name), *(missing if row is None else map(str, row)), _text(error)])
            for name, (row, error) in zip(batch.names, rows, strict=True)
        ]

    def _write(self, partial: Partial, summary: Summary) -> None:
        note: Mapping[str, Any] = {
            "asked": self._asked,
            "scored": summary.scored,
            "failed": summary.failed,
        }
        # First: an output without its note would be nobody's.
        write_json(note_path(self.output), note)
        self.table.write(self.output, self._columns, partial.lines())
        write_json(note_path(self.output), {**note, "digest": _digest_of(self.output)})
        partial_path(self.output).unlink()


def _digest_of(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(text: str) -> str:
    """What UTF-8 holds: bytes of a file's name that are none become `\\xff`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
