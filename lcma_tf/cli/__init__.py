"""The command line: how every main starts and ends, and the flags. No TensorFlow."""

from lcma_tf.cli.main import require, require_writable, run

__all__ = ["require", "require_writable", "run"]
