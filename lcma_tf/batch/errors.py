"""What goes wrong with the scoring of many images."""

from __future__ import annotations

from lcma_tf.errors import UserError

__all__ = ["BatchError"]


class BatchError(UserError, ValueError):
    """An input that cannot be read, or an output that is another one's."""
