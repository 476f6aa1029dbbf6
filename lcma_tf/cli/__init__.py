"""The command line: how every main starts and ends, and the flags. No TensorFlow."""

from lcma_tf.cli.main import require, run

__all__ = ["require", "run"]
