"""Pictures to a square of the asked size: the largest centred square, then a resize to uint8.

The result is rounded to whole numbers on purpose: bits per dimension bound an 8-bit image only
when the model sees 8-bit pixels.
"""

import dataclasses

import numpy as np
from PIL import Image

from lcma_tf.data.cache import MEMORY, Store
from lcma_tf.data.changed import changed
from lcma_tf.data.image_data import ImageData
from lcma_tf.data.resample import antialias


def center_square(picture: Image.Image, size: int) -> Image.Image:
    """Cuts the largest centred square out of `picture` and brings it to `size` x `size` pixels.

    Shrinking averages the area under each new pixel (`Image.Resampling.BOX`), which neither
    aliases nor sharpens. Enlarging is bicubic; enlarged images are smoother than photographs of
    that size, so their bits per dimension are flattering.
    """
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    resampling = Image.Resampling.BOX if size <= side else Image.Resampling.BICUBIC
    return picture.resize((size, size), resampling, box=(left, top, left + side, top + side))


def center_square_pixels(image: np.ndarray, size: int) -> np.ndarray:
    """`center_square` of an array: uint8 `[H, W, C]` to `[size, size, C]`, `C` 1 or 3."""
    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image)
    pixels = np.asarray(center_square(picture, size))
    return pixels[..., None] if grey else pixels


def center_square_antialiased(image: np.ndarray, size: int) -> np.ndarray:
    """The same square brought to `size` by `lcma_tf.data.resample.antialias`, whichever way."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return antialias(image[top : top + side, left : left + side], size)


def resized(data: ImageData, image_size: int | None, store: Store = MEMORY) -> ImageData:
    """A whole set of uint8 images brought to `image_size`; as it is for None or its own size.

    Args:
        store: where the resized images are kept.
    """
    if image_size is None or data.image_shape[:2] == (image_size, image_size):
        return data
    height, width, _ = data.image_shape

    def change(images: np.ndarray) -> np.ndarray:
        return np.stack([center_square_pixels(image, image_size) for image in images])

    splits = changed(data, {"image_size": image_size}, change, store)
    note = f"Resized from {height}x{width}, so not comparable with published figures."
    return dataclasses.replace(
        data, **splits, description=f"{data.description} {note}", original_shape=None
    )
