"""The command line: how every main starts and ends, and the flags. No TensorFlow."""

from lcma_tf.cli.callable_module import make_callable
from lcma_tf.cli.main import exit_if_failed, require, require_writable, run

__all__ = ["exit_if_failed", "make_callable", "require", "require_writable", "run"]
