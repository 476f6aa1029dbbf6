"""Which dimensions leave the flow at which scale, and the rules that decide it. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lcma_tf.choices import RULES
from lcma_tf.factorization.decision import (
    decide_factorization,
    evidence_of,
    needs_pretraining,
)
from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.factorization.factorization import Factorization
from lcma_tf.factorization.rules import SplitRule
from lcma_tf.factorization.whitening import Whitening

if TYPE_CHECKING:
    SPLIT_RULES: tuple[str, ...]

__all__ = [
    "SPLIT_RULES",
    "Factorization",
    "FactorizationError",
    "SplitRule",
    "Whitening",
    "decide_factorization",
    "evidence_of",
    "needs_pretraining",
]


def __getattr__(name: str) -> tuple[str, ...]:
    if name == "SPLIT_RULES":  # As the table is now: a rule may be entered at any time.
        return tuple(RULES)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
