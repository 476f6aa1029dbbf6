"""Data sets by name: the table of sources, and `load`.

A name is a source's prefix and what that source makes of the rest; every other name is a
TensorFlow Datasets set.
"""

from lcma_tf.data.folder_source import load_image_folder
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.npz_source import load_npz
from lcma_tf.data.photo_source import load_photo_patches
from lcma_tf.data.tfds_source import load_tfds

# Prefix -> function of (rest of the name, data_dir, image_size). A new source is one line.
SOURCES = {
    "npz:": load_npz,
    "image_folder:": load_image_folder,
    "photo_patches": load_photo_patches,
}


def load(name: str, data_dir: str | None = None, image_size: int | None = None) -> ImageData:
    """Loads a data set into memory.

    Args:
        name: `photo_patches` (embedded; `/32x32` or `/64x64`), `npz:PATH` (arrays `train`,
            `validation`, `test`, uint8 `[N, H, W, C]`), `image_folder:PATH` (PNG and JPEG files),
            or a TensorFlow Datasets name such as `cifar10` or `downsampled_imagenet/32x32`.
        data_dir: where TFDS keeps prepared sets; None for TFDS' default. The other sources have
            their place in the name.
        image_size: height and width in pixels to which pictures are brought; None takes them as
            they are, which then must be of one size.

    A TFDS set that is not prepared is downloaded; with no network that fails after about 200
    seconds of TFDS' retries.

    Returns:
        `ImageData`, uint8.

    Raises:
        DataError: the set cannot be had; the message names it, the rule and what was found.
    """
    if image_size is not None and image_size < 1:
        raise DataError(f"`image_size` must be None or at least 1; got {image_size}")
    for prefix, source in SOURCES.items():
        if name.startswith(prefix):
            return source(name[len(prefix) :], data_dir, image_size)
    return load_tfds(name, data_dir, image_size)
