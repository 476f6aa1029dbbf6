"""Boolean masks over images, and the one formula for where kept dimensions go.

Two kinds of mask live here, both NumPy, both fixed before anything is traced:

* coupling masks (True = unchanged, conditions the rest): `checkerboard`, `channel_half`;
* split masks (True = goes on through the flow), which `factorization.py` decides. Whatever the rule,
  `kept_order` says how the kept half is arranged for the next flow layer.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "blocks",
    "channel_half",
    "checkerboard",
    "exited_order",
    "gather_kept",
    "kept_order",
    "selects_channels",
]


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


def blocks(array: np.ndarray) -> np.ndarray:
    """Views `[h, w, c]` as its 2x2 blocks: `[h/2, w/2, c, 4]`, raster order inside a block."""
    height, width, channels = array.shape
    split = array.reshape(height // 2, 2, width // 2, 2, channels)
    return split.transpose(0, 2, 4, 1, 3).reshape(height // 2, width // 2, channels, 4)


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
    """Arranges the kept entries of `array` `[h, w, c]` as the next layer's `[h/2, w/2, -1]`."""
    height, width, _ = mask.shape
    return array.ravel()[kept_order(mask)].reshape(height // 2, width // 2, -1)


def _ordered_indices(mask: np.ndarray) -> np.ndarray:
    return blocks(np.arange(mask.size).reshape(mask.shape)).ravel()
