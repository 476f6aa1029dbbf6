"""TFRecord files whose records are PNG or JPEG files, or `tf.train.Example`s with one."""

from __future__ import annotations

import glob
import os
import struct
from collections.abc import Collection, Iterator

import numpy as np
import tensorflow as tf

# `tf.data.TFRecordDataset` begins at no record but the first, and ends at one that is damaged.
from tensorflow.python.lib.io import tf_record  # pyright: ignore[reportAttributeAccessIssue]

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.rows import Content, Row, digest_of_file
from lcma_tf.files.paths import expanded, printable
from lcma_tf.image_files import ImageFileError

__all__ = ["open_tfrecord"]

_AROUND = 16  # Bytes of a record that are not its data: length, and two checksums of 4 bytes.
_FEATURES = ("image/encoded", "image")  # Where an example is looked through if no feature is named.
_MAGICS = (b"\x89PNG", b"\xff\xd8\xff")


class _Records:
    """The records of files in order of their names, counted over all of them and named by that."""

    note = ""

    def __init__(self, paths: list[str], feature: str):
        self._feature = feature
        self._files = [(path, _offsets(path)) for path in paths]
        self.digest = " ".join(digest_of_file(path, feature) for path in paths)

    def __len__(self) -> int:
        return sum(len(offsets) for _, offsets in self._files)

    def read(self, start: int) -> Iterator[Row]:
        index = 0
        for path, offsets in self._files:
            yield from self._from(path, offsets, max(0, start - index), index)
            index += len(offsets)

    def _from(self, path: str, offsets: np.ndarray, first: int, before: int) -> Iterator[Row]:
        """The records of one file from `first` on; a damaged one is a row that says so."""
        reader = tf_record.tf_record_random_reader(path)
        try:
            for record in range(first, len(offsets)):
                try:
                    data, _ = reader.read(int(offsets[record]))
                    content = _content(data, self._feature)
                except tf.errors.DataLossError:
                    content = ImageFileError("must be a whole record; its checksum is another")
                except IndexError as error:  # The end of the file.
                    raise BatchError(
                        f"`input` must not change while it is read; {printable(path)!r} did"
                    ) from error
                yield Row(f"{before + record}", content)
        finally:
            reader.close()


def open_tfrecord(
    name: str, data_dir: str | None = None, without: Collection[str] = ()
) -> _Records:
    """The records of `FILE`, of all files that the pattern `GLOB` matches, or the same with `:FEATURE`.

    A record that is a PNG or JPEG file is taken as it is. Of any other, an example, it is the feature
    `FEATURE`; without one `image/encoded`, or else `image`. What is in `without`, absolute paths, is
    left out.

    Raises:
        BatchError: no such file, or one that is not made of records, a compressed one say.
    """
    del data_dir  # The name says it all.
    pattern, feature = name, ""
    if not _matches(pattern, without) and ":" in name:
        pattern, _, feature = name.rpartition(":")
    paths = _matches(pattern, without)
    if not paths:
        raise BatchError(
            "`input` must name an existing file of records, or a pattern that some match; got "
            f"{printable(name)!r}"
        )
    return _Records(paths, feature)


def _matches(pattern: str, without: Collection[str]) -> list[str]:
    path = expanded(pattern)
    found = [path] if os.path.isfile(path) else glob.glob(path, recursive=True)
    files = (file for file in found if os.path.isfile(file))
    return sorted(file for file in files if os.path.abspath(file) not in without)


def _offsets(path: str) -> np.ndarray:
    """Where each record begins, int64: from length to length, without a look at the data.

    Raises:
        BatchError: the lengths do not end where the file does.
    """
    offsets, position, size = [], 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(8)
            end = (
                position + _AROUND + (struct.unpack("<Q", header)[0] if len(header) == 8 else size)
            )
            if end > size:
                raise BatchError(
                    f"`input` must be whole TFRecord files, not compressed; {printable(path)!r} is none "
                    f"from its byte {position} on"
                )
            offsets.append(position)
            position = end
    return np.array(offsets, np.int64)


def _content(record: bytes, feature: str) -> Content:
    if not feature and record.startswith(_MAGICS):
        return record
    example = tf.train.Example()
    try:
        example.ParseFromString(record)
    except Exception:  # That of protobuf, whose name moves between its versions.
        return ImageFileError("must be a PNG or a JPEG file, or a tf.train.Example; it is neither")
    found = example.features.feature
    for name in [feature] if feature else _FEATURES:
        if name in found and found[name].bytes_list.value:
            return found[name].bytes_list.value[0]
    wanted = feature or " or ".join(_FEATURES)
    return ImageFileError(
        f"must have the bytes of a file as its feature {wanted}; it has {', '.join(sorted(found))}"
    )
