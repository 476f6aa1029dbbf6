"""Warm-up records: requests beside a SavedModel that a server runs before the version answers any.

The first run of a signature costs TensorFlow seconds; no client should wait for them. A server that
cannot run a record refuses the version, so `export.verify` runs them all.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from export.dtypes import DTYPES, STRING, number_of, strings_of
from export.serving_messages import PredictionLog, TensorProto
from export.tfrecord import RecordError, read_records, write_records

__all__ = ["WARMUP_FILE", "WarmupError", "WarmupRequest", "read_warmup", "write_warmup"]

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
# More of them fail the load of a version.
_MAX_RECORDS = 1000
# What a request without a signature's name means.
_DEFAULT_SIGNATURE = "serving_default"
# Where a TensorProto has its values if it does not have them as `tensor_content`.
_VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "object": "string_val",
    **dict.fromkeys(("int32", "uint8", "int16", "int8", "uint16"), "int_val"),
}


class WarmupError(ValueError):
    """Requests that cannot be written, or a file that a server would not load."""


class WarmupRequest(NamedTuple):
    """A record; `output_filter` is empty if all outputs are wanted."""

    signature: str
    inputs: dict[str, np.ndarray]
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
            request.inputs[name].CopyFrom(_to_proto(f"{signature}/{name}", array))
        records.append(log.SerializeToString(deterministic=True))
    path = pathlib.Path(version_dir) / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    write_records(path, records)
    return path


def read_warmup(path: str | os.PathLike[str]) -> list[WarmupRequest]:
    """Reads the file that `write_warmup` or anybody else has written.

    Raises:
        WarmupError: there is no such file, or one that a server would not load.
    """
    try:
        records = read_records(path)
    except (OSError, RecordError) as error:
        raise WarmupError(f"The warm-up file must be readable: {error}") from error
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
        request = log.predict_log.request
        inputs = {name: _from_proto(name, request.inputs[name]) for name in sorted(request.inputs)}
    except (DecodeError, ValueError) as error:
        raise WarmupError(
            f"Warm-up record {index} must be a PredictionLog of a predict request; got: {error}"
        ) from error
    signature = request.model_spec.signature_name or _DEFAULT_SIGNATURE
    return WarmupRequest(signature, inputs, tuple(request.output_filter))


def _to_proto(name: str, array: np.ndarray) -> Any:
    array = np.asarray(array)
    proto = TensorProto()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    try:
        proto.dtype = number_of(array, name)
        if proto.dtype == STRING:
            proto.string_val.extend(strings_of(array, name))
        else:
            proto.tensor_content = array.tobytes()
    except ValueError as error:
        raise WarmupError(str(error)) from error
    return proto


def _from_proto(name: str, proto: Any) -> np.ndarray:
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.dtype not in DTYPES or proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"`{name}` must have a known shape and dtype")
    dtype = DTYPES[proto.dtype]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape).copy()
    if dtype.name not in _VALUE_FIELDS:
        raise ValueError(f"`{name}` must have its {dtype} values as tensor_content")
    values = list(getattr(proto, _VALUE_FIELDS[dtype.name])) or [b"" if dtype.hasobject else 0]
    # As object, int64, float64 or bool first: an int too large for uint8 is cut, as in TensorFlow.
    given = np.array(values, object if dtype.hasobject else None)
    array = np.full(shape, given[-1], given.dtype)  # The last one stands for all that follow it.
    if len(given) > max(array.size, 1):
        raise ValueError(f"`{name}` of shape {list(shape)} must not have {len(given)} values")
    array.ravel()[: len(given)] = given[: array.size]  # A view, as the array is new.
    return array.astype(dtype)
