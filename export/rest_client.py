"""REST: `lcma_tf.serving.client.rest`."""

from lcma_tf.serving.client.rest import RestTransport

__all__ = ["RestTransport"]
