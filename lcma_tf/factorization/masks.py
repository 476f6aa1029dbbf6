"""Boolean masks over images that are patterns: of couplings, and of the static split rule.

In a coupling True = unchanged, conditions the rest; in a split True = goes on through the flow. Both are
NumPy, fixed before anything is traced.
"""

from __future__ import annotations

import numpy as np

__all__ = ["channel_half", "checkerboard", "selects_channels"]


def checkerboard(image_shape: tuple[int, ...], keep_even: bool = True) -> np.ndarray:
    """Returns bool `[h, w, c]`, True where `i + j` is even (odd if not `keep_even`)."""
    height, width, channels = image_shape
    even = (np.arange(height)[:, None] + np.arange(width)[None, :]) % 2 == 0
    return np.repeat((even == keep_even)[..., None], channels, axis=-1)


def channel_half(image_shape: tuple[int, ...], keep_first: bool = True) -> np.ndarray:
    """Returns bool `[h, w, c]`, True on the first half of the channels (second if not `keep_first`)."""
    height, width, channels = image_shape
    if channels % 2:
        raise ValueError(f"`image_shape` must have an even number of channels; got {image_shape}.")
    first = np.arange(channels) < channels // 2
    return np.broadcast_to(first == keep_first, (height, width, channels)).copy()


def selects_channels(mask: np.ndarray) -> bool:
    """Whether `mask` `[h, w, c]` is the same at every pixel: it tells channels apart, not pixels."""
    return bool((mask == mask[:1, :1]).all())
