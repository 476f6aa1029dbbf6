"""gRPC: `lcma_tf.serving.client.grpc`."""

from lcma_tf.serving.client.grpc import GrpcTransport

__all__ = ["GrpcTransport"]
