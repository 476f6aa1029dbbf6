"""What an export computes: `lcma_tf.serving.graph.signatures`."""

from lcma_tf.serving.graph.signatures import ServingFlow, check_serving_arguments

__all__ = ["ServingFlow", "check_serving_arguments"]
