"""Frames of zeros around images, for sides that a flow cannot halve often enough.

28 pixels can be halved twice; in a frame of two pixels on each side they are 32 and can be halved
five times. `ImageData` says how bits/dim are then to be counted.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lcma_tf.data.cache import MEMORY, Store
from lcma_tf.data.changed import Images, changed
from lcma_tf.data.image_data import DataError, check_original_shape


def padded(data: Images, pad_to: int, store: Store = MEMORY) -> Images:
    """The same images in the middle of `pad_to` x `pad_to` pixels of 0.

    An odd rest goes to the bottom and to the right.

    Args:
        store: where the padded images are kept; in memory there is room for both copies needed.

    Raises:
        DataError: `pad_to` is less than the height or the width of the images.
    """
    height, width, _ = data.image_shape
    if pad_to < max(height, width):
        raise DataError(
            f"{data.name}: `pad_to` must be at least the height and width of the images; got "
            f"{pad_to} for {height}x{width}"
        )
    if (height, width) == (pad_to, pad_to):
        return data

    def frame(images: np.ndarray) -> np.ndarray:
        return in_a_frame(images, (pad_to, pad_to))

    note = (
        f"Zero-padded from {height}x{width} to {pad_to}x{pad_to} pixels. bits/dim: nats of the whole "
        f"padded image over the {height}x{width}x{data.image_shape[2]} original dimensions."
    )
    return dataclasses.replace(
        data,
        **changed(data, {"pad_to": pad_to}, frame, store),
        description=f"{data.description} {note}".strip(),
        original_shape=data.original_shape,
    )


def in_a_frame(images: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Pictures `[..., h, w, C]` in the middle of zeros, `[..., H, W, C]`; `size` begins with H, W.

    An odd rest goes to the bottom and to the right; where there is none nothing is copied.
    """
    height, width, _ = images.shape[-3:]
    if (height, width) == tuple(size[:2]):
        return images
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    frame = ((top, size[0] - height - top), (left, size[1] - width - left), (0, 0))
    return np.pad(images, [(0, 0)] * (images.ndim - 3) + list(frame))


def without_padding(images: Any, original_shape: Sequence[int]) -> Any:
    """The pictures in the middle of `padded` images: `[..., H, W, C]` to `[..., h, w, C]`, a view.

    Args:
        images: an array or a tensor.
        original_shape: `(h, w, C)`.

    Raises:
        DataError: it does not fit into the images.
    """
    check_original_shape("images", original_shape, tuple(images.shape[-3:]))
    height, width = original_shape[:2]
    top, left = (images.shape[-3] - height) // 2, (images.shape[-2] - width) // 2
    return images[..., top : top + height, left : left + width, :]
