"""The client of a model server: `lcma_tf.serving.client.client`."""

from lcma_tf.serving.client.client import MAX_MESSAGE_BYTES, Scores, ServingClient

__all__ = ["MAX_MESSAGE_BYTES", "Scores", "ServingClient"]
