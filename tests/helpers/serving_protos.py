"""The messages of TensorFlow Serving's configuration files, declared by hand to parse them with.

`tensorflow-serving-api` has only some of them, and the tests need not install it. Names, numbers and
types are those of tensorflow/serving (`config/*.proto`, `session_bundle_config.proto`); a field that is
not here is one that our files do not use.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

__all__ = ["PACKAGE", "message_class", "parse"]

PACKAGE = "tensorflow.serving"
_WRAPPERS = ".google.protobuf"
_POLICY = "FileSystemStoragePathSourceConfig.ServableVersionPolicy"
_MAPS = {"ModelConfig.VersionLabelsEntry"}

# Message: (name, number, type), and a fourth if it is `repeated` or belongs to a oneof of that name.
_MESSAGES: dict[str, list[tuple]] = {
    "FileSystemStoragePathSourceConfig": [],
    _POLICY: [
        ("latest", 100, f"{_POLICY}.Latest", "policy_choice"),
        ("all", 101, f"{_POLICY}.All", "policy_choice"),
        ("specific", 102, f"{_POLICY}.Specific", "policy_choice"),
    ],
    f"{_POLICY}.Latest": [("num_versions", 1, "uint32")],
    f"{_POLICY}.All": [],
    f"{_POLICY}.Specific": [("versions", 1, "int64", "repeated")],
    "ModelConfig": [
        ("name", 1, "string"),
        ("base_path", 2, "string"),
        ("model_platform", 4, "string"),
        ("model_version_policy", 7, _POLICY),
        ("version_labels", 8, "ModelConfig.VersionLabelsEntry", "repeated"),
    ],
    "ModelConfig.VersionLabelsEntry": [("key", 1, "string"), ("value", 2, "int64")],
    "ModelConfigList": [("config", 1, "ModelConfig", "repeated")],
    "ModelServerConfig": [("model_config_list", 1, "ModelConfigList", "config")],
    "BatchingParameters": [
        ("max_batch_size", 1, f"{_WRAPPERS}.Int64Value"),
        ("batch_timeout_micros", 2, f"{_WRAPPERS}.Int64Value"),
        ("max_enqueued_batches", 3, f"{_WRAPPERS}.Int64Value"),
        ("num_batch_threads", 4, f"{_WRAPPERS}.Int64Value"),
        ("thread_pool_name", 5, f"{_WRAPPERS}.StringValue"),
        ("allowed_batch_sizes", 6, "int64", "repeated"),
        ("pad_variable_length_inputs", 7, "bool"),
        ("enable_large_batch_splitting", 8, f"{_WRAPPERS}.BoolValue"),
        ("max_execution_batch_size", 9, f"{_WRAPPERS}.Int64Value"),
    ],
    "MonitoringConfig": [("prometheus_config", 1, "PrometheusConfig")],
    "PrometheusConfig": [("enable", 1, "bool"), ("path", 2, "string")],
}


def parse(text: str, message: str) -> Any:
    """A message of `PACKAGE` from its text form, as the server does: an unknown field is an error."""
    return text_format.Parse(text, message_class(message)())


def message_class(message: str) -> Any:
    """The class of a message of `PACKAGE`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{message}"))


def _pool() -> descriptor_pool.DescriptorPool:
    # A pool of our own: with tensorflow-serving-api imported, the common one has these names already.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="serving_configuration.proto", package=PACKAGE, syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    declared: dict[str, Any] = {"": file}
    for message, fields in _MESSAGES.items():
        parent, _, name = message.rpartition(".")
        owner = declared[parent]
        siblings = owner.nested_type if parent else owner.message_type
        declared[message] = siblings.add(name=name)
        declared[message].options.map_entry = message in _MAPS
        for name, number, kind, *rest in fields:
            _declare_field(declared[message], name, number, kind, *rest)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _declare_field(message: Any, name: str, number: int, kind: str, rule: str = "") -> None:
    field = message.field.add(name=name, number=number)
    if hasattr(field, f"TYPE_{kind.upper()}"):
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = kind if kind.startswith(".") else f".{PACKAGE}.{kind}"
    field.label = field.LABEL_REPEATED if rule == "repeated" else field.LABEL_OPTIONAL
    if rule not in ("", "repeated"):
        if rule not in [oneof.name for oneof in message.oneof_decl]:
            message.oneof_decl.add(name=rule)
        field.oneof_index = len(message.oneof_decl) - 1


_POOL = _pool()
