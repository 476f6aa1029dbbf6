"""Warm-up records: requests beside a SavedModel that a server runs before the version answers any.

The first run of a signature costs TensorFlow seconds; no client should wait for them. A server that
cannot run a record refuses the version, so `export.verify` runs them all.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from lcma_tf.errors import UserError
from lcma_tf.serving.runtime.messages import PredictionLog

__all__ = ["WARMUP_FILE", "WarmupError", "WarmupRequest", "read_warmup", "write_warmup"]

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
# More of them fail the load of a version.
_MAX_RECORDS = 1000
# Bytes of a record in a TFRecord file beside its own: its length and two checksums.
_RECORD_OVERHEAD = 16
# What a request without a signature's name means.
_DEFAULT_SIGNATURE = "serving_default"


class WarmupError(UserError, ValueError):
    """Requests that cannot be written, or a file that a server would not load."""


class WarmupRequest(NamedTuple):
    """A record: serialized TensorProtos by input; `output_filter` is empty if all outputs are wanted."""

    signature: str
    inputs: dict[str, bytes]
    output_filter: tuple[str, ...]


def write_warmup(
    version_dir: str | os.PathLike[str], requests: Mapping[str, Mapping[str, np.ndarray]]
) -> pathlib.Path:
    """Writes one record for each signature below a version folder; returns the file.

    The model's name stays empty: servers do not look at it, and know the model under any name.

    Args:
        version_dir: the folder with saved_model.pb.
        requests: arrays by signature and input; strings as bytes in object arrays. A row each is
            enough. `serving_default` is a signature of its own, even if it does what another does.

    Raises:
        WarmupError: an array of a dtype that TensorFlow does not have.
    """
    records = []
    for signature, inputs in requests.items():
        log = PredictionLog()
        request = log.predict_log.request
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name] = _to_proto(f"{signature}/{name}", array)
        records.append(log.SerializeToString(deterministic=True))
    path = pathlib.Path(version_dir) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def read_warmup(path: str | os.PathLike[str]) -> list[WarmupRequest]:
    """Reads the file that `write_warmup` or anybody else has written.

    Raises:
        WarmupError: there is no such file, or one that a server would not load.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise WarmupError(f"The warm-up file must exist; there is no {path}.")
    records, whole = [], True
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            records.append(record)
    except tf.errors.OpError:
        whole = False
    # A part of a record's head at the end is no error to TensorFlow's reader.
    if not whole or path.stat().st_size != sum(_RECORD_OVERHEAD + len(r) for r in records):
        raise WarmupError(
            f"The warm-up file must be one of whole records; record {len(records)} of {path} is cut "
            "short, has a wrong checksum or cannot be read."
        )
    if len(records) > _MAX_RECORDS:
        raise WarmupError(
            f"A warm-up file must have at most {_MAX_RECORDS} records; got {len(records)}."
        )
    return [_read_record(index, record) for index, record in enumerate(records)]


def _read_record(index: int, record: bytes) -> WarmupRequest:
    try:
        log = PredictionLog.FromString(record)
        if not log.HasField("predict_log"):
            raise ValueError("no predict_log")
    except (DecodeError, ValueError) as error:
        raise WarmupError(
            f"Warm-up record {index} must be a PredictionLog of a predict request; got: {error}"
        ) from error
    request = log.predict_log.request
    signature = request.model_spec.signature_name or _DEFAULT_SIGNATURE
    return WarmupRequest(signature, dict(request.inputs), tuple(request.output_filter))


def _to_proto(what: str, array: np.ndarray) -> bytes:
    # Of the machine's byte order, or the message would hold other numbers.
    array = np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    try:
        return tf.make_tensor_proto(array).SerializeToString(deterministic=True)
    except (TypeError, ValueError) as error:
        raise WarmupError(
            f"`{what}` must be an array of a dtype of TensorFlow; got {array.dtype}: {error}"
        ) from error
