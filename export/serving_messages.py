"""The few messages of TensorFlow Serving that a warm-up file holds, as Protocol Buffers classes.

Publishing then needs no tensorflow-serving-api, and reading what was published no TensorFlow either.
Packages, names and field numbers are those of tensorflow_serving/apis (prediction_log.proto,
predict.proto, model.proto) and tensorflow/core/framework (tensor.proto, tensor_shape.proto), so the
bytes are the same; fields that are not declared here are kept unread. The classes live in a pool of
their own, where they meet neither TensorFlow's nor Serving's, of the same names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["PredictionLog", "TensorProto"]

_BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_DOUBLE = descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE
_FLOAT = descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT
_INT32 = descriptor_pb2.FieldDescriptorProto.TYPE_INT32
_INT64 = descriptor_pb2.FieldDescriptorProto.TYPE_INT64
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING


def _tensor_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="tensor.proto", package="tensorflow", syntax="proto3"
    )
    shape = file.message_type.add(name="TensorShapeProto")
    _declare(shape.nested_type.add(name="Dim"), size=(1, _INT64), name=(2, _STRING))
    _declare(shape, dim=(2, ["tensorflow.TensorShapeProto.Dim"]), unknown_rank=(3, _BOOL))
    _declare(
        file.message_type.add(name="TensorProto"),
        dtype=(1, _INT32),  # An enum there, the same bytes; its numbers are in dtypes.py.
        tensor_shape=(2, "tensorflow.TensorShapeProto"),
        tensor_content=(4, _BYTES),
        float_val=(5, [_FLOAT]),
        double_val=(6, [_DOUBLE]),
        int_val=(7, [_INT32]),
        string_val=(8, [_BYTES]),
        int64_val=(10, [_INT64]),
        bool_val=(11, [_BOOL]),
    )
    return file


def _serving_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="prediction_log.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["tensor.proto"],
    )
    _declare(
        file.message_type.add(name="ModelSpec"), name=(1, _STRING), signature_name=(3, _STRING)
    )
    request = file.message_type.add(name="PredictRequest")
    entry = request.nested_type.add(name="InputsEntry", options={"map_entry": True})
    _declare(entry, key=(1, _STRING), value=(2, "tensorflow.TensorProto"))
    _declare(
        request,
        model_spec=(1, "tensorflow.serving.ModelSpec"),
        inputs=(2, ["tensorflow.serving.PredictRequest.InputsEntry"]),
        output_filter=(3, [_STRING]),
    )
    log = file.message_type.add(name="PredictLog")
    _declare(log, request=(1, "tensorflow.serving.PredictRequest"))
    log = file.message_type.add(name="PredictionLog")
    _declare(log, predict_log=(6, "tensorflow.serving.PredictLog"))
    return file


def _declare(message: descriptor_pb2.DescriptorProto, /, **fields: tuple[int, Any]) -> None:
    """Adds fields by name: number, and a type or a message's name; in a list if repeated."""
    for name, (number, kind) in fields.items():
        field = message.field.add(name=name, number=number, label="LABEL_OPTIONAL")
        if isinstance(kind, list):
            (kind,) = kind
            field.label = field.LABEL_REPEATED
        if isinstance(kind, str):
            field.type, field.type_name = field.TYPE_MESSAGE, f".{kind}"
        else:
            field.type = kind


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_tensor_file())
_POOL.Add(_serving_file())


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


TensorProto = _message_class("tensorflow.TensorProto")
PredictionLog = _message_class("tensorflow.serving.PredictionLog")
