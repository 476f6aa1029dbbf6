"""What is wrong with a factorization."""

from __future__ import annotations

from lcma_tf.errors import UserError

__all__ = ["FactorizationError"]


class FactorizationError(UserError, ValueError):
    """A factorization that cannot be decided, or a file that does not hold a valid one."""
