"""Warm-up files: their bytes, what is read back from them, and what no server would load."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from lcma_tf.serving.runtime.messages import PredictionLog
from lcma_tf.serving.runtime.warmup import (
    WARMUP_FILE,
    WarmupError,
    WarmupRequest,
    read_warmup,
    write_warmup,
)
from plain_saved_models import REQUESTS
from record_files import read_records, write_records

SEED = np.array([[7, 300]], np.int32)
# A predict request for `sample` with `seed` = SEED, byte by byte, by the public proto files.
SEED_BYTES = bytes.fromhex("07000000 2c010000")
TENSOR_BYTES = (
    b"\x08\x03"  # dtype: DT_INT32
    b"\x12\x08" + b"\x12\x02\x08\x01" + b"\x12\x02\x08\x02"  # tensor_shape: dims 1 and 2
    b"\x22\x08" + SEED_BYTES  # tensor_content
)
REQUEST_BYTES = (
    b"\x0a\x08" + b"\x1a\x06sample"  # model_spec: signature_name
    b"\x12\x1e" + b"\x0a\x04seed" + b"\x12\x16" + TENSOR_BYTES  # inputs: an entry
)
RECORD_BYTES = b"\x32\x2c" + b"\x0a\x2a" + REQUEST_BYTES  # predict_log: request


def write(folder, *logs):
    path = folder / "records"
    write_records(
        path, [log if isinstance(log, bytes) else log.SerializeToString() for log in logs]
    )
    return path


def log_of(signature="", output_filter=(), **inputs):
    log = PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.output_filter.extend(output_filter)
    for name, proto in inputs.items():
        request.inputs[name] = proto.SerializeToString()
    return log


def array_of(proto):
    return tf.make_ndarray(tensor_pb2.TensorProto.FromString(proto))


def assert_same(read, requests):
    assert [record.signature for record in read] == list(requests)
    for record, inputs in zip(read, requests.values(), strict=True):
        assert record.inputs.keys() == inputs.keys() and record.output_filter == ()
        for name, array in inputs.items():
            np.testing.assert_array_equal(array_of(record.inputs[name]), array, strict=True)


def test_the_bytes_are_those_of_the_public_messages(tmp_path):
    path = write_warmup(tmp_path, {"sample": {"seed": SEED}})
    assert path == tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    assert read_records(path) == [RECORD_BYTES]


def test_fields_of_requests_are_servings():
    theirs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2").PredictionLog
    ours, seen = PredictionLog.DESCRIPTOR, []

    def compare(ours, theirs):
        seen.append(ours.full_name)
        assert ours.full_name == theirs.full_name
        assert_fields_agree(ours, theirs)
        for field in ours.fields:
            if field.message_type:
                compare(field.message_type, theirs.fields_by_name[field.name].message_type)

    compare(ours, theirs.DESCRIPTOR)
    assert "tensorflow.serving.ModelSpec" in seen and len(seen) == 5


def assert_fields_agree(ours, theirs):
    for field in ours.fields:
        other = theirs.fields_by_name[field.name]
        types = (field.type, other.type)
        assert field.number == other.number and field.is_repeated == other.is_repeated
        assert types[0] == types[1] or types == (field.TYPE_BYTES, field.TYPE_MESSAGE), field.name


def test_serving_reads_what_was_written(tmp_path):
    serving = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = write_warmup(tmp_path, REQUESTS)
    for record, (signature, inputs) in zip(read_records(path), REQUESTS.items(), strict=True):
        log = serving.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.signature_name == signature
        assert request.inputs.keys() == inputs.keys()
        for name, array in inputs.items():
            np.testing.assert_array_equal(tf.make_ndarray(request.inputs[name]), array, strict=True)


def test_what_serving_writes_is_read(tmp_path):
    serving = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    logs = []
    for signature, inputs in REQUESTS.items():
        logs.append(serving.PredictionLog())
        request = logs[-1].predict_log.request
        request.model_spec.name, request.model_spec.version.value = "flow", 3
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        logs[-1].log_metadata.sampling_config.sampling_rate = 0.5
    assert_same(read_warmup(write(tmp_path, *logs)), REQUESTS)


def test_what_was_written_is_read_again(tmp_path):
    assert_same(read_warmup(write_warmup(tmp_path, REQUESTS)), REQUESTS)


def test_the_order_of_bytes_is_the_machines(tmp_path):
    """What `tf.make_tensor_proto` alone writes of such an array are other numbers."""
    array = np.array([1, 2, 300])
    for dtype in (">f4", ">i8", "<u2", ">u2"):
        write_warmup(tmp_path, {"f": {"x": array.astype(dtype)}})
        (record,) = read_warmup(tmp_path / WARMUP_FILE)
        np.testing.assert_array_equal(array_of(record.inputs["x"]), array)


def test_the_same_requests_are_the_same_bytes(tmp_path):
    first = write_warmup(tmp_path, REQUESTS).read_bytes()
    for inputs in (REQUESTS, {key: dict(reversed(REQUESTS[key].items())) for key in REQUESTS}):
        assert write_warmup(tmp_path, inputs).read_bytes() == first
    assert [path.name for path in (tmp_path / WARMUP_FILE).parent.iterdir()] == [
        "tf_serving_warmup_requests"
    ]


def test_no_name_of_a_signature_is_the_default_one(tmp_path):
    path = write(tmp_path, log_of(output_filter=["b", "a"]), log_of("encode"))
    assert read_warmup(path) == [
        WarmupRequest("serving_default", {}, ("b", "a")),
        WarmupRequest("encode", {}, ()),
    ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\x32\x05ab", "Warm-up record 1 must be a PredictionLog of a predict request; got"),
        (b"", "got: no predict_log"),
        (b"\x12\x00", "got: no predict_log"),  # A classify_log.
    ],
)
def test_records_of_another_kind_are_refused(tmp_path, record, message):
    with pytest.raises(WarmupError, match=message):
        read_warmup(write(tmp_path, log_of(), record))


def test_more_records_than_a_server_reads_are_refused(tmp_path):
    assert len(read_warmup(write(tmp_path, *[log_of()] * 1000))) == 1000
    with pytest.raises(WarmupError, match="at most 1000 records; got 1001"):
        read_warmup(write(tmp_path, *[log_of()] * 1001))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros(2, "datetime64[s]"),
            r"`encode/x` must be an array of a dtype .*; got datetime64",
        ),
        (np.array([b"a", None], object), "`encode/x` must be an array of a dtype .*; got object"),
    ],
)
def test_what_is_no_tensor_is_not_written(tmp_path, array, message):
    with pytest.raises(WarmupError, match=message):
        write_warmup(tmp_path, {"encode": {"x": array}})
    assert list(tmp_path.iterdir()) == []


def test_any_wrong_or_missing_byte_is_found(tmp_path):
    path = tmp_path / "records"
    write_records(path, [b"", b"\0" * 5])
    good = path.read_bytes()
    broken = [good[:size] for size in range(1, len(good)) if size != 16]  # 16: the first, whole.
    for at in range(len(good)):
        broken.append(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
    for data in broken:
        path.write_bytes(data)
        with pytest.raises(
            WarmupError, match=r"record [01] of .* is cut short, has a wrong checksum"
        ):
            read_warmup(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "must exist; there is no"),
        (lambda path: path.mkdir(), "must exist; there is no"),
        (lambda path: path.write_bytes(b"no record"), "record 0 of .* is cut short"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_refused(tmp_path, make, message):
    make(tmp_path / "records")
    with pytest.raises(WarmupError, match=message):
        read_warmup(tmp_path / "records")
