"""What goes wrong with scores."""

from __future__ import annotations

from lcma_tf.errors import UserError

__all__ = ["CalibrationError"]


class CalibrationError(UserError, ValueError):
    """A calibration that cannot be made or read, or is that of another flow."""
