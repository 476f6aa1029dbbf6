"""What an image file says of itself, and what is wrong with one that is refused."""

from __future__ import annotations

import dataclasses

from lcma_tf.errors import UserError

__all__ = ["ImageFileError", "ImageHeader"]


class ImageFileError(UserError, ValueError):
    """An image file that is not taken; the message goes on from the file's name: "must be ..."."""


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What is known of a file before it is decoded.

    Args:
        format: `PNG` or `JPEG`.
        width, height: in pixels, as stored: a camera's orientation mark is not obeyed.
        bits: of one channel.
        colour: of a PNG its colour type (0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with
            alpha), of a JPEG its number of components (1 grey, 3 colour, 4 CMYK).
    """

    format: str
    width: int
    height: int
    bits: int
    colour: int
