"""`python -m export.export_saved_model`: `lcma-export` of a checkout, `lcma_tf.serving.export`."""

from lcma_tf.serving.export import command
from lcma_tf.serving.publishing.export_flow import export_flow

__all__ = ["export_flow"]

if __name__ == "__main__":
    command()
