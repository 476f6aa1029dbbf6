"""The few messages of TensorFlow Serving that a warm-up file holds, as Protocol Buffers classes.

Publishing then needs no tensorflow-serving-api. Packages, names and field numbers are those of
tensorflow_serving/apis (prediction_log.proto, predict.proto, model.proto), so the bytes are the same;
fields that are not declared here are kept unread. A tensor, a message of TensorFlow's there, is here the
bytes of that message, which stand in the same place. The classes live in a pool of their own, where they
do not meet Serving's of the same names.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["PredictionLog"]

_BYTES = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_STRING = descriptor_pb2.FieldDescriptorProto.TYPE_STRING


def _serving_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="prediction_log.proto", package="tensorflow.serving", syntax="proto3"
    )
    _declare(
        file.message_type.add(name="ModelSpec"), name=(1, _STRING), signature_name=(3, _STRING)
    )
    request = file.message_type.add(name="PredictRequest")
    entry = request.nested_type.add(name="InputsEntry", options={"map_entry": True})
    _declare(entry, key=(1, _STRING), value=(2, _BYTES))
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
_POOL.Add(_serving_file())

PredictionLog: Any = message_factory.GetMessageClass(
    _POOL.FindMessageTypeByName("tensorflow.serving.PredictionLog")
)
