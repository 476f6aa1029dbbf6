"""The one formula for where the dimensions that go on are placed, whatever rule chose them.

A split mask is bool `[h, w, c]`, True = goes on through the flow. `kept_order` says how the kept half
is arranged for the next flow layer.
"""

from __future__ import annotations

import numpy as np

__all__ = ["blocks", "exited_order", "from_blocks", "gather_kept", "kept_order"]


def blocks(array: np.ndarray) -> np.ndarray:
    """Views `[h, w, c]` as its 2x2 blocks: `[h/2, w/2, c, 4]`, raster order inside a block."""
    height, width, channels = array.shape
    split = array.reshape(height // 2, 2, width // 2, 2, channels)
    return split.transpose(0, 2, 4, 1, 3).reshape(height // 2, width // 2, channels, 4)


def from_blocks(in_blocks: np.ndarray) -> np.ndarray:
    """The inverse of `blocks`: `[h/2, w/2, c, 4]` to `[h, w, c]`."""
    rows, columns, channels, _ = in_blocks.shape
    split = in_blocks.reshape(rows, columns, channels, 2, 2)
    return split.transpose(0, 3, 1, 4, 2).reshape(2 * rows, 2 * columns, channels)


def kept_order(mask: np.ndarray) -> np.ndarray:
    """Returns the flat indices of what goes on, in the order in which it goes on.

    Order: 2x2 blocks in raster order, then channel, then raster inside the block. Reshaped to
    `[h/2, w/2, -1]` this is the next flow layer's input. With the same number kept in every block
    and channel each lands in its own block; a mask without spatial structure just overflows. The
    all-True mask gives the channel-major squeeze (channel `4c + 2i + j`).

    Args:
        mask: bool `[h, w, c]`, h and w even.
    """
    return _ordered_indices(mask)[blocks(mask).ravel()]


def exited_order(mask: np.ndarray) -> np.ndarray:
    """Returns the flat indices of what leaves the flow, in the same block-major order."""
    return _ordered_indices(mask)[~blocks(mask).ravel()]


def gather_kept(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Arranges what goes on of `array` `[..., h, w, c]` for the next layer, `[..., h/2, w/2, -1]`."""
    height, width, _ = mask.shape
    batch = array.shape[:-3]
    kept = array.reshape(*batch, mask.size)[..., kept_order(mask)]
    return kept.reshape(*batch, height // 2, width // 2, -1)


def _ordered_indices(mask: np.ndarray) -> np.ndarray:
    return blocks(np.arange(mask.size).reshape(mask.shape)).ravel()
