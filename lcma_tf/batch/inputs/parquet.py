"""A column of a Parquet file that holds PNG or JPEG files, bytes or as Hugging Face has pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.rows import Content, Row, digest_of_file, existing_file
from lcma_tf.extras import require_extra
from lcma_tf.files.paths import printable
from lcma_tf.image_files import ImageFileError

__all__ = ["content_of", "open_parquet"]

_ROWS = 16  # Read at once: files may be large.


class _Column:
    """The rows of one column, named by their index."""

    note = ""

    def __init__(self, path: str, column: str, count: int):
        self._path, self._column, self._count = path, column, count
        self.digest = digest_of_file(path, column)

    def __len__(self) -> int:
        return self._count

    def read(self, start: int) -> Iterator[Row]:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path, pre_buffer=False) as file:
                groups, index = _from(file.metadata, start)
                batches = file.iter_batches(_ROWS, row_groups=groups, columns=[self._column])
                for batch in batches:
                    for value in batch.column(0)[max(0, start - index) :]:
                        yield Row(f"{max(start, index)}", content_of(value.as_py()))
                        start += 1
                    index += len(batch)
        except Exception as error:  # Of several kinds.
            raise BatchError(
                "`input` must be a whole Parquet file; reading "
                f"{printable(self._path)!r} failed: {error}"
            ) from error


def open_parquet(name: str, data_dir: str | None = None, without: Collection[str] = ()) -> _Column:
    """The column `COLUMN` of `FILE:COLUMN`: binary, or a struct with a field `bytes`.

    Raises:
        BatchError: no such file or column, or one that is of another kind.
        MissingExtraError: pyarrow is not installed.
    """
    del data_dir, without  # The name says it all.
    require_extra("pyarrow", "data", "read a Parquet file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, colon, column = name.rpartition(":")
    if not colon or not path or not column:
        raise BatchError(
            f"`input` must be parquet:FILE:COLUMN; got {printable(f'parquet:{name}')!r}"
        )
    path = existing_file(path)
    try:
        with pq.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
    except Exception as error:
        raise BatchError(
            f"`input` must be a whole Parquet file; opening {printable(path)!r} failed: {error}"
        ) from error
    if column not in schema.names:
        raise BatchError(
            f"`input` must name a column of the file; got {column!r}, found {', '.join(schema.names)}"
        )
    kind = schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise BatchError(
            f"`input` must name a column of PNG or JPEG files, binary; {column!r} is {kind}"
        )
    return _Column(path, column, count)


def _from(metadata, start: int) -> tuple[list[int], int]:
    """The row groups from that of row `start` on, and the index of their first row."""
    index = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if start < index + count:
            return list(range(group, metadata.num_row_groups)), index
        index += count
    return [], index


def content_of(value: Any) -> Content:
    """What a cell holds: the bytes of a file, or a struct with them; None = it is null."""
    data = value["bytes"] if isinstance(value, dict) else value
    return ImageFileError("must be the bytes of a file; it is null") if data is None else data
