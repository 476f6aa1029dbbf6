"""The content of a row to the pixels that a flow takes, or one sentence on why it has none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.rows import Content
from lcma_tf.choices import RESIZES
from lcma_tf.data.padding import in_a_frame
from lcma_tf.image_files import ImageFileError, decode_image, read_image_file

__all__ = ["REFUSE", "Pictures"]

REFUSE = "refuse"  # What is not in `RESIZES`: pictures of another size have no score.


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Brings pictures to one shape, as the data set `image_folder` does.

    Transparency is dropped, a camera's orientation mark obeyed, and grey becomes RGB where that is asked
    for; nothing becomes grey.

    Args:
        shape: `(h, w, C)` of a picture.
        image_shape: `(H, W, C)` of the image around it: a frame of zeros, if it is larger.
        resize: `refuse`, or of `lcma_tf.choices.RESIZES` how the largest centred square of a picture of
            another size is brought to h x w; then h is w.

    Raises:
        BatchError: a `resize` to pictures that are no squares.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    resize: str = REFUSE

    def __post_init__(self):
        height, width, _ = self.shape
        if self.resize != REFUSE and height != width:
            raise BatchError(
                f"`resize` must be {REFUSE} for images that are no squares; got {self.resize!r} for a "
                f"flow of {width} x {height} pixels"
            )

    def image(self, content: Content) -> np.ndarray:
        """uint8 `image_shape`.

        Raises:
            ImageFileError: it cannot be decoded, is of another size or kind, or was none already.
        """
        pixels = self._of_kind(_pixels(content))
        height, width, _ = self.shape
        if pixels.shape[:2] != (height, width):
            if self.resize == REFUSE or 0 in pixels.shape:
                found = f"{pixels.shape[1]} x {pixels.shape[0]}"
                raise ImageFileError(f"must be {width} x {height} pixels; it is {found}")
            pixels = RESIZES[self.resize](pixels, height)
        return in_a_frame(pixels, self.image_shape)

    def _of_kind(self, pixels: np.ndarray) -> np.ndarray:
        channels, found = self.shape[-1], pixels.shape[-1]
        if found == channels:
            return pixels
        if (found, channels) == (1, 3):
            return np.repeat(pixels, 3, axis=-1)
        if (found, channels) == (3, 1):
            raise ImageFileError("must be grey; it is in colour")
        raise ImageFileError(f"must have {channels} channels; it has {found}")


def _pixels(content: Content) -> np.ndarray:
    """uint8 `[h, w, C]`, of a file with C 1 or 3."""
    if isinstance(content, ImageFileError):
        raise content
    if isinstance(content, np.ndarray):
        return content
    data = read_image_file(content) if isinstance(content, Path) else content
    return np.atleast_3d(np.asarray(decode_image(data)))
