"""Warm-up files as lists of records, for tests that change them."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["read_records", "write_records"]


def read_records(path):
    """The records of a TFRecord file, as bytes."""
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def write_records(path, records):
    """Writes `records` over `path`."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
