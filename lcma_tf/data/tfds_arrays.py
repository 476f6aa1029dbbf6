"""From a TFDS builder to arrays: preparing a set once, and reading one split as uint8.

TFDS is imported inside the functions only: it costs start-up time that an `.npz` user need not pay.
"""

import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

from lcma_tf.data.image_data import DataError
from lcma_tf.data.resize import center_square

# (left, top, right, bottom) in pixels and the default size. CelebA: the box of Dinh et al. 2017.
_FACE_BOXES = {"celeb_a": ((15, 40, 163, 188), 64)}

_BATCH = 256


def expanded(data_dir: str | None) -> str | None:
    """`data_dir` with `~` expanded; None, TFDS' own default, stays None."""
    return None if data_dir is None else os.path.expanduser(data_dir)


def prepare(builder, name: str, data_dir: str | None) -> None:
    """Downloads and prepares what `builder` describes, unless that was done before.

    Raises:
        DataError: preparing failed; the message names the cause and the way by hand.
    """
    import tensorflow_datasets as tfds

    if builder.is_prepared():
        return
    try:
        builder.download_and_prepare()
    except DataError:
        raise
    # ConnectionError, AssertionError, NonMatchingChecksumError, DownloadError, or whatever one of
    # TFDS' hundreds of builders raises: the cure is the same for all.
    except Exception as error:
        root = expanded(data_dir) or tfds.core.constants.DATA_DIR
        manual = os.path.join(root, "downloads", "manual")
        raise DataError(
            f"{name}: must be prepared in {root} or be downloadable; TFDS tried both and failed "
            f"({type(error).__name__}: {first_line(error)}); put the original archive, under its "
            f"own file name, into {manual} and try again"
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message: TFDS appends lists of every set it knows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no reason given"


def read_split(builder, name: str, split: str, image_size: int | None) -> np.ndarray:
    """The feature `image` of every example of `split`: uint8 `[N, H, W, C]`.

    With an `image_size` each image is cropped and resized to it, else all must be of one size.

    Raises:
        DataError: images of several sizes.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    box, default_size = _FACE_BOXES.get(builder.name, (None, None))
    image_size = image_size or default_size
    only_images = tfds.decode.PartialDecoding({"image": True})
    images = builder.as_dataset(split=split, decoders=only_images).map(lambda x: x["image"])
    count = int(images.cardinality())
    if image_size is not None:
        one_by_one = images.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        return _collect((_resized(image, box, image_size)[None] for image in one_by_one), count)
    # Some sets declare [None, None, 3] although all their images are of one size.
    shape = next(iter(images.take(1).as_numpy_iterator()), np.zeros((0, 0, 3))).shape
    batches = images.map(lambda image: tf.ensure_shape(image, shape)).batch(_BATCH)
    try:
        return _collect(batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator(), count)
    except tf.errors.InvalidArgumentError as error:
        raise DataError(
            f"{name}: images of `{split}` must be of one size unless `image_size` is given; the "
            f"first is {list(shape)}, another is not"
        ) from error


def _resized(image: np.ndarray, box, image_size: int) -> np.ndarray:
    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image).crop(box)
    pixels = np.asarray(center_square(picture, image_size))
    return pixels[..., None] if grey else pixels


def _collect(batches: Iterable[np.ndarray], count: int) -> np.ndarray:
    """All batches as one array; `count` images if that is known (else negative)."""
    if count < 0:
        return np.concatenate(list(batches) or [np.zeros((0, 0, 0, 3), np.uint8)])
    # Filled in place: ImageNet at 64x64 is 16 GB and should not be held twice.
    images, filled = np.zeros((count, 0, 0, 3), np.uint8), 0
    for batch in batches:
        if filled == 0:
            images = np.empty((count, *batch.shape[1:]), np.uint8)
        images[filled : filled + len(batch)] = batch
        filled += len(batch)
    return images[:filled]
