"""One picture to a square of the asked size: the largest centred square, then a resize to uint8.

The result is rounded to whole numbers on purpose: bits per dimension bound an 8-bit image only
when the model sees 8-bit pixels.
"""

from PIL import Image

from lcma_tf.data.image_data import DataError


def center_square(picture: Image.Image, size: int) -> Image.Image:
    """Cuts the largest centred square out of `picture` and brings it to `size` x `size` pixels.

    Shrinking averages the area under each new pixel (`Image.Resampling.BOX`), which neither
    aliases nor sharpens. Enlarging is bicubic; enlarged images are smoother than photographs of
    that size, so their bits per dimension are flattering.

    Raises:
        DataError: `size` is not positive.
    """
    if size < 1:
        raise DataError(f"`image_size` must be at least 1; got {size}")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    resampling = Image.Resampling.BOX if size <= side else Image.Resampling.BICUBIC
    return picture.resize((size, size), resampling, box=(left, top, left + side, top + side))
