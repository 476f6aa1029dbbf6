"""The gRPC interface of the model server's stand-in, on loopback; needs tensorflow-serving-api."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

_LONGEST_MESSAGE = 1024
_STATUSES = {status.value[0]: status for status in grpc.StatusCode}


@contextlib.contextmanager
def serve_grpc(stand_in) -> Iterator[str]:
    """Serves until the end of the context; gives the address.

    Python's server takes messages of 4 MB at most, the real one of 2 GB: a client of this one must cut.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(16), options=[("grpc.max_send_message_length", -1)]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Prediction(stand_in), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(stand_in), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def _statuses(context) -> Iterator[None]:
    """Ends the call with the status of an error."""
    try:
        yield
    except Exception as error:
        code = _STATUSES[int(getattr(error, "code", 2))]
        context.abort(code, str(error)[:_LONGEST_MESSAGE])


def _check(stand_in, spec) -> None:
    stand_in.check_servable(spec.name, spec.version.value if spec.HasField("version") else None)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stand_in):
        self._stand_in = stand_in

    def Predict(self, request, context):
        with _statuses(context):
            _check(self._stand_in, request.model_spec)
            inputs = {key: _to_array(request.inputs[key]) for key in request.inputs}
            name = request.model_spec.signature_name
            outputs = self._stand_in.predict(name, inputs, request.output_filter)
            answer = predict_pb2.PredictResponse()
            answer.model_spec.CopyFrom(request.model_spec)
            answer.model_spec.version.value = self._stand_in.version
            for key, array in outputs.items():
                answer.outputs[key].CopyFrom(_to_proto(array))
            return answer

    def GetModelMetadata(self, request, context):
        with _statuses(context):
            _check(self._stand_in, request.model_spec)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in self._stand_in.model.signatures.items():
                stated = signatures.signature_def[name]
                for there, infos in (
                    (stated.inputs, signature.inputs),
                    (stated.outputs, signature.outputs),
                ):
                    for key, info in infos.items():
                        there[key].name = info.name
                        there[key].dtype = tf.as_dtype(info.dtype).as_datatype_enum
                        there[key].tensor_shape.CopyFrom(tf.TensorShape(info.shape).as_proto())
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.model_spec.CopyFrom(request.model_spec)
            answer.metadata["signature_def"].Pack(signatures)
            return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, stand_in):
        self._stand_in = stand_in

    def GetModelStatus(self, request, context):
        with _statuses(context):
            _check(self._stand_in, request.model_spec)
            states = get_model_status_pb2.ModelVersionStatus.State
            answer = get_model_status_pb2.GetModelStatusResponse()
            answer.model_version_status.add(
                version=self._stand_in.version, state=states.Value("AVAILABLE")
            )
            return answer


def _to_array(proto) -> np.ndarray:
    dtype = tf.as_dtype(proto.dtype).as_numpy_dtype
    if not proto.int_val:
        return tf.make_ndarray(proto)
    # Numbers that do not fit wrap without a word, and the last one fills the rest, as in the server.
    shape = [dim.size for dim in proto.tensor_shape.dim]
    values = np.array(proto.int_val, np.int64).astype(dtype)
    missing = int(np.prod(shape)) - len(values)
    return np.pad(values, (0, max(missing, 0)), mode="edge")[: np.prod(shape)].reshape(shape)


def _to_proto(array: np.ndarray):
    """As the server writes answers: small integers one by one, in one or two bytes each."""
    if array.dtype != np.uint8:
        return tf.make_tensor_proto(array)
    proto = tf.make_tensor_proto(np.zeros((0,), np.uint8), shape=[0])
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    proto.int_val.extend(array.ravel().tolist())
    return proto
