"""The files that tables of scores are: CSV and Parquet, written whole or not at all, and read again.

The names are those of `lcma_tf.choices.TABLES`. A row is a name, the scores and an error; a row with an
error has no scores. As CSV a score is the shortest text that reads back as the same float32.
"""

from __future__ import annotations

import csv
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from lcma_tf.batch.partial import as_line
from lcma_tf.extras import require_extra
from lcma_tf.files.saving import written_whole

__all__ = ["ERROR", "NAME", "CsvTable", "ParquetTable", "Table"]

NAME, ERROR = "name", "error"
_IS_TRUE = {"True": True, "False": False, "": None}
_ROWS = 65_536  # Of a row group.


class Table(Protocol):
    """One kind of file. An entry of `lcma_tf.choices.TABLES`, which is a class without arguments."""

    def check(self) -> None:
        """Raises `MissingExtraError` unless such files can be written."""

    def write(self, path: pathlib.Path, columns: Mapping[str, type], lines: Iterable[str]) -> None:
        """Writes rows, given as lines of CSV; `columns` have the type `str`, `float` or `bool`.

        Raises:
            SaveError: the file system refuses; what was there is kept.
        """

    def read(self, path: pathlib.Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """These columns of every row; what a row lacks is None, but for the name and the error."""
        ...


class CsvTable:
    """Comma-separated values in UTF-8, the first line the names."""

    def check(self) -> None:
        pass

    def write(self, path: pathlib.Path, columns: Mapping[str, type], lines: Iterable[str]) -> None:
        with (
            written_whole(path) as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as file,
        ):
            file.write(as_line([*columns]))
            file.writelines(lines)

    def read(self, path: pathlib.Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield tuple(
                    row[name] if name in (NAME, ERROR) else _number(row[name]) for name in names
                )


class ParquetTable:
    """Scores are float32 and bool, null where there are none."""

    def check(self) -> None:
        require_extra("pyarrow", "data", "write a Parquet file")

    def write(self, path: pathlib.Path, columns: Mapping[str, type], lines: Iterable[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {str: pa.string(), float: pa.float32(), bool: pa.bool_()}
        schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        rows = csv.reader(lines)
        with (
            written_whole(path) as temporary,
            pq.ParquetWriter(os.fspath(temporary), schema) as file,
        ):
            while group := list(itertools.islice(rows, _ROWS)):
                texts = zip(*group, strict=True)
                arrays = [
                    pa.array([_typed(text, kind) for text in column], kinds[kind])
                    for column, kind in zip(texts, columns.values(), strict=True)
                ]
                file.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def read(self, path: pathlib.Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=[*names]):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)


def _typed(text: str, kind: type):
    if kind is str:
        return text
    return _IS_TRUE[text] if kind is bool else _number(text)


def _number(text: str) -> float | None:
    if text in ("True", "False"):
        return float(text == "True")
    return float(text) if text else None
