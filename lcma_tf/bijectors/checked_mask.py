"""What a mask must be, for couplings, batch norms and splits alike."""

from __future__ import annotations

import numpy as np

__all__ = ["checked_mask"]


def checked_mask(mask) -> np.ndarray:
    """Returns `mask` as a bool array `[h, w, c]`, or says what is wrong with it."""
    array = np.asarray(mask)
    if array.dtype != bool or array.ndim != 3:
        raise ValueError(
            f"`mask` must be a bool array [h, w, c]; got {array.dtype} of shape {array.shape}."
        )
    return array
