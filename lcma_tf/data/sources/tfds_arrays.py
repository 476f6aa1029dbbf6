"""From a TFDS builder to arrays: preparing a set once, and reading its splits.

TFDS is imported inside the functions only: it costs start-up time that an `.npz` user need not pay.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lcma_tf.data.ahead import ahead
from lcma_tf.data.cache import MEMORY, Filling, Store
from lcma_tf.data.cache.filling import MemoryFilling
from lcma_tf.data.cache.identity import identity_of_folder
from lcma_tf.data.image_data import DataError
from lcma_tf.data.resize import center_square_pixels
from lcma_tf.data.sources import local_files

_BATCH = 256


def prepare(builder, name: str, data_dir: str | None, advice: str | None = None) -> None:
    """Downloads and prepares what `builder` describes, unless that was done before.

    Args:
        builder: of TFDS.
        name: opens the error message.
        data_dir: as the user gave it.
        advice: how the set can be had otherwise; None = by TFDS' folder for manual downloads.

    Raises:
        DataError: preparing failed; the message names the cause and the way by hand.
    """
    if is_prepared(builder):
        return
    try:
        with _no_advice_to_itself():
            builder.download_and_prepare()
    except DataError:
        raise
    # ConnectionError, AssertionError, NonMatchingChecksumError, DownloadError, or whatever one of
    # TFDS' hundreds of builders raises: the cure is the same for all.
    except Exception as error:
        root = local_files.data_root(data_dir)
        manual = os.path.join(root, "downloads", "manual")
        by_hand = f"put the original archive, under its own file name, into {manual} and try again"
        raise DataError(
            f"{name}: must be prepared in {root} or be downloadable; TFDS tried both and failed "
            f"({type(error).__name__}: {first_line(error)}); {advice or by_hand}"
        ) from error


def is_prepared(builder) -> bool:
    """Whether `builder` was prepared before; asked of a folder that is not there TFDS would warn."""
    return builder.data_path.exists() and builder.is_prepared()


def first_line(error: Exception) -> str:
    """The first line of an error's message: TFDS appends lists of every set it knows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else "no reason given"


def read_splits(
    builder,
    name: str,
    image_size: int | None = None,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    store: Store = MEMORY,
    asked: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Those of train, validation and test that the set declares; arguments as `read_split`.

    Args:
        store: where decoded images are kept.
        asked: what `transform` is made by, by name.

    Raises:
        DataError: no uint8 feature `image`, no split `train`, or images of several sizes.
    """
    require_images(builder, name)
    # A builder under `tfds.testing.mock_data` declares no splits and serves any.
    declared = set(builder.info.splits) or {"train", "test"}
    if "train" not in declared:
        raise DataError(f"{name}: must have a split `train`; it has {', '.join(sorted(declared))}")
    wanted = [split for split in ("train", "validation", "test") if split in declared]

    def fill(filling: Filling) -> None:
        for split in wanted:
            _fill_split(filling, builder, name, split, image_size, transform)

    asked = {"image_size": image_size, "splits": wanted, **(asked or {})}
    source = {"set": builder.info.full_name, "folder": str(builder.data_dir)}
    source |= identity_of_folder(builder.data_dir)
    return store.arrays(name, asked, source, fill).arrays


def require_images(builder, name: str) -> None:
    """Raises `DataError` unless the set has pictures of 8 bits, as the feature `image`."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    image = dict(features.items()).get("image")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise DataError(f"{name}: must have a uint8 feature `image`; its features are {features}")


def read_split(
    builder,
    name: str,
    split: str,
    image_size: int | None = None,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """The feature `image` of every example of `split`: `[N, H, W, C]`, uint8 if not transformed.

    Args:
        builder: of TFDS, prepared.
        name: opens the error message.
        split: one that the builder has.
        image_size: size to which each image is cropped and resized; None = all are of one size.
        transform: function from an image uint8 `[h, w, C]` to what is kept of it, in place of
            cropping and resizing to `image_size`.

    Raises:
        DataError: images of several sizes, or files that are torn or missing.
    """
    filling = MemoryFilling()
    _fill_split(filling, builder, name, split, image_size, transform)
    return filling.arrays[split]


def _fill_split(
    filling: Filling,
    builder,
    name: str,
    split: str,
    image_size: int | None,
    transform: Callable[[np.ndarray], np.ndarray] | None,
) -> None:
    with local_files.reading(name, f"`{split}` of {builder.data_dir}"):
        images = image_dataset(builder, split)
    count = int(images.cardinality())
    with filling.array(split, count if count >= 0 else None) as sink:
        if sink.is_whole:
            return
        batches = _batches(images, name, split, image_size, transform, sink.filled)
        while True:
            with local_files.reading(name, f"`{split}` of {builder.data_dir}"):
                batch = next(batches, None)
            if batch is None:
                return
            sink.append(batch)  # Not in the block above, which takes any error for one of reading.


def _batches(
    images,
    name: str,
    split: str,
    image_size: int | None,
    transform: Callable[[np.ndarray], np.ndarray] | None,
    num_skipped: int,
) -> Iterator[np.ndarray]:
    """Of a `tf.data.Dataset` of images, behind the first `num_skipped`."""
    import tensorflow as tf

    if transform is None and image_size is not None:
        transform = functools.partial(center_square_pixels, size=image_size)
    if transform is not None:
        for image in images.skip(num_skipped).apply(ahead).as_numpy_iterator():
            yield transform(image)[None]
        return
    # Some sets declare [None, None, 3] although all their images are of one size.
    shape = next(iter(images.take(1).as_numpy_iterator()), np.zeros((0, 0, 3))).shape
    batches = images.map(lambda image: tf.ensure_shape(image, shape)).skip(num_skipped)
    try:
        yield from batches.batch(_BATCH).apply(ahead).as_numpy_iterator()
    except tf.errors.InvalidArgumentError as error:
        if "not compatible with expected shape" not in str(error):
            raise  # A picture that cannot be decoded.
        raise DataError(
            f"{name}: images of `{split}` must be of one size unless `image_size` is given; "
            f"the first is {list(shape)}, another is not"
        ) from error


def image_dataset(builder, split: str):
    """A `tf.data.Dataset` of the feature `image` of every example of `split`, in order."""
    import tensorflow_datasets as tfds

    only_images = tfds.decode.PartialDecoding({"image": True})
    with _no_advice_to_itself():
        # Read once: a cache would warn where only the first image is looked at.
        uncached = tfds.ReadConfig(try_autocache=False)
        examples = builder.as_dataset(split=split, decoders=only_images, read_config=uncached)
    return examples.map(lambda x: x["image"])


@contextlib.contextmanager
def _no_advice_to_itself() -> Iterator[None]:
    """Without what TFDS warns of where it does so itself: nobody else can help it.

    It reads of features what it tells others not to read, and looks at the folder that it is making.
    """
    own = ("`FeatureConnector.dtype` is deprecated", "has no dataset_info.json")

    def is_for_others(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in own)

    logger = logging.getLogger("absl")
    logger.addFilter(is_for_others)
    try:
        yield
    finally:
        logger.removeFilter(is_for_others)
