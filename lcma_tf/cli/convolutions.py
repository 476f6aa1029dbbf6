"""Whose convolutions TensorFlow runs on this processor, oneDNN's or Eigen's, where nobody has said it.

TensorFlow asks `TF_ENABLE_ONEDNN_OPTS` as it is imported, and by itself takes oneDNN's only on
processors with instructions for neural networks. They were the faster ones on those without, too, at the
batches that commands make (docs/performance.md): so they are chosen wherever there is AVX2. All commands
choose alike, lest the scores of one machine depend on which command computes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Set

from lcma_tf.processor import processor_fields

__all__ = ["TOLD", "choose_convolutions", "chosen"]

_NAME = "TF_ENABLE_ONEDNN_OPTS"
TOLD = f"[lcma_tf] convolutions by oneDNN, as is best on this processor; {_NAME}=0 takes Eigen's"
_MEASURED = frozenset({"avx2", "fma"})
# With one of these TensorFlow takes oneDNN's by itself (2.21, `util/port.cc`).
_BY_DEFAULT = frozenset(
    {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}
)


def choose_convolutions() -> None:
    """Sets the variable, and says so, where it is not set and TensorFlow would choose the slower ones.

    To be called before TensorFlow is imported; later it does nothing.
    """
    if "tensorflow" in sys.modules or _NAME in os.environ:
        return
    choice = chosen(_features())
    if choice is not None:
        os.environ[_NAME] = choice
        # Not on standard output: there some commands have a path, or a table, and nothing else.
        print(TOLD, file=sys.stderr, flush=True)


def chosen(features: Set[str]) -> str | None:
    """The value of the variable for a processor; None = as TensorFlow has it.

    Args:
        features: of the processor, as Linux names them.
    """
    return "1" if features >= _MEASURED and not features & _BY_DEFAULT else None


def _features() -> Set[str]:
    return set(processor_fields().get("flags", "").split())
