"""Which dimensions leave the flow at which scale, and the rules that decide it. NumPy only."""

from lcma_tf.factorization.decision import decide_factorization, needs_contributions
from lcma_tf.factorization.factorization import Factorization, FactorizationError
from lcma_tf.factorization.rules import SPLIT_RULES

__all__ = [
    "SPLIT_RULES",
    "Factorization",
    "FactorizationError",
    "decide_factorization",
    "needs_contributions",
]
