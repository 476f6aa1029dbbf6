"""A model server's gRPC interface, through the package `tensorflow-serving-api`.

The package is optional and brings all of TensorFlow; `export.rest_client` does without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.transport import OUTPUTS, ServingError, dtypes_of

__all__ = ["GrpcTransport"]

# Of an answer: latents are four times the images that were sent, and the server writes each pixel of an
# answer in up to two bytes.
_MAX_ANSWER_BYTES = 128 * 2**20
_OPTIONS = [
    ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
    # By default a channel that was refused once waits a second and more before it looks again: longer
    # than `Retries` waits.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
]


class GrpcTransport:
    """A `Transport` over gRPC; threads may share it.

    Args:
        address: `host:port` (8500 is the server's default).
        model: the name it is served by.
        version: by default the newest that the server has.
        credentials: `grpc.ChannelCredentials` for TLS; by default there is none.

    Raises:
        RequestError: an argument breaks its rule.
        ImportError: `tensorflow-serving-api` is missing; the message says what to install.

    Example:
        ```python
        from lcma_tf.serving.client.client import ServingClient
        from lcma_tf.serving.client.grpc import GrpcTransport

        with ServingClient(GrpcTransport("localhost:8500", "flow")) as client:
            print(client.status())  # {1: 'AVAILABLE'}
        ```
    """

    def __init__(
        self, address: str, model: str, version: int | None = None, credentials: Any = None
    ):
        if "://" in address or not address.rpartition(":")[2].isdigit():
            raise RequestError(f"`address` must be host:port; got {address!r}.")
        if not model:
            raise RequestError("`model` must be the name of a model; got ''.")
        self._grpc, self._apis, self._tf = _import_packages()
        if credentials is None:
            self._channel = self._grpc.insecure_channel(address, _OPTIONS)
        else:
            self._channel = self._grpc.secure_channel(address, credentials, _OPTIONS)
        self._prediction = self._apis.prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._model_service = self._apis.model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._model, self._version = model, version

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        request = self._apis.predict_pb2.PredictRequest()
        self._fill(request.model_spec, signature)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(self._tf.make_tensor_proto(array))
        answer = self._call(self._prediction.Predict, request, timeout)
        try:
            outputs = {name: self._tf.make_ndarray(answer.outputs[name]) for name in answer.outputs}
            return {
                name: outputs[name].astype(dtype, casting="safe", copy=False)
                for name, dtype in dtypes_of(signature, outputs).items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError(
                "INTERNAL",
                f"the answer must hold arrays {list(OUTPUTS[signature])}: {error!r}",
                final=True,
            ) from error

    def status(self, timeout: float) -> dict[int, str]:
        request = self._apis.get_model_status_pb2.GetModelStatusRequest()
        self._fill(request.model_spec)
        answer = self._call(self._model_service.GetModelStatus, request, timeout)
        states = self._apis.get_model_status_pb2.ModelVersionStatus.State
        return {one.version: states.Name(one.state) for one in answer.model_version_status}

    def input_shapes(
        self, signature: str, timeout: float
    ) -> dict[str, tuple[int | None, ...] | None]:
        request = self._apis.get_model_metadata_pb2.GetModelMetadataRequest()
        self._fill(request.model_spec)
        request.metadata_field.append("signature_def")
        answer = self._call(self._prediction.GetModelMetadata, request, timeout)
        signatures = self._apis.get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        if signature not in signatures.signature_def:
            raise ServingError(
                "FAILED_PRECONDITION",
                f"the model has no signature `{signature}`; "
                f"it has {sorted(signatures.signature_def)}",
                final=True,
            )
        inputs = signatures.signature_def[signature].inputs
        return {name: _shape(info.tensor_shape) for name, info in inputs.items()}

    def close(self) -> None:
        self._channel.close()

    def _fill(self, model_spec: Any, signature: str = "") -> None:
        model_spec.name = self._model
        model_spec.signature_name = signature
        if self._version is not None:
            model_spec.version.value = self._version

    def _call(self, method: Callable[..., Any], request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout)
        except self._grpc.RpcError as error:
            status, message = error.code().name, error.details() or ""
            # Said of a full server and of a message that is too long; the second stays so.
            too_long = status == "RESOURCE_EXHAUSTED" and "larger than max" in message
            raise ServingError(status, message, final=too_long) from error


def _import_packages() -> tuple[Any, Any, Any]:
    """grpc, the generated modules of the server's interface, and TensorFlow."""
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving import apis
        from tensorflow_serving.apis import (  # noqa: F401  # As attributes of `apis`.
            get_model_metadata_pb2,
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError as error:
        raise ImportError(
            f"gRPC needs the packages grpcio and tensorflow-serving-api ({error}): "
            'pip install grpcio tensorflow-serving-api~=2.21.0, or "lcma_tf[grpc]", or use REST, which '
            "needs neither."
        ) from error
    return grpc, apis, tf


def _shape(stated: Any) -> tuple[int | None, ...] | None:
    if stated.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in stated.dim)
