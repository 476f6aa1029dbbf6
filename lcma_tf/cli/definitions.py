"""How flags are defined that several commands have, and shown by `--help`."""

from __future__ import annotations

import sys
from typing import Any

from absl import flags

from lcma_tf.cli.parsers import PathParser
from lcma_tf.config import MAX_SEED

__all__ = [
    "define_data_cache",
    "define_intra_op_threads",
    "define_path",
    "define_seed",
    "show_in_help",
]

_OURS = "lcma_tf.cli."


def define_seed(text: str, default: int | None = 0) -> None:
    """A flag `seed`."""
    flags.DEFINE_integer("seed", default, text, lower_bound=0, upper_bound=MAX_SEED)


def define_data_cache() -> None:
    """The flag `data_cache`."""
    define_path(
        "data_cache",
        None,
        "folder in which decoded images are kept and mapped from; default: lcma_tf below "
        "$XDG_CACHE_HOME or ~/.cache; empty: they are decoded anew, into memory",
    )


def define_intra_op_threads() -> None:
    """The flag `intra_op_threads`."""
    flags.DEFINE_integer(
        "intra_op_threads",
        None,
        "threads of one operation; default: TensorFlow's, all processors. 1 is faster for small flows: "
        "what does not wait for each other runs at once, and images are scored in pieces of a batch",
        lower_bound=1,
        # Each is started, and far more than there are processors are only slower.
        upper_bound=1_024,
    )


def define_path(name: str, default: str | None, text: str, **options: Any) -> None:
    """A flag that is a path."""
    flags.DEFINE(
        PathParser(), name, default, text, serializer=flags.ArgumentSerializer(), **options
    )


def show_in_help() -> None:
    """Makes `--help` of the program list the flags of ours: absl lists those of the main file alone."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith(_OURS):
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
