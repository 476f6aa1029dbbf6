"""Any TensorFlow Datasets image set as arrays, with a validation and a test split for all of them.

A set that is prepared already is read without touching the network.
"""

import difflib

import numpy as np

from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.tfds_arrays import expanded, first_line, prepare, read_split


def load_tfds(name: str, data_dir: str | None = None, image_size: int | None = None) -> ImageData:
    """Reads `name`, preparing it first (a download, for most sets) if it is not prepared.

    Splits: `train`; `validation`, else the last 10 % of train, at most 5,000 images; `test`, else
    `validation` is scored as test and the validation images are cut out of train, as papers on
    flows do for ImageNet; a set with `train` alone gives up two such parts. What was done is in
    the description.

    Args:
        name: a TFDS name with a uint8 `image` feature: `cifar10`, `downsampled_imagenet/32x32`.
        data_dir: TFDS' data folder; None is TFDS' own default (`TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).
        image_size: height and width in pixels to which each image is brought (largest centred
            square, area average when shrinking). `celeb_a` is cropped to rows 40-187, columns
            15-162 first and is 64 by default; its pixels are rounded to whole numbers, unlike
            those of the RealNVP program.

    Without a network TFDS retries a download for about 200 seconds before it gives up.

    Raises:
        DataError: an unknown name, a set that cannot be prepared, has no uint8 `image`, too few
            images, or images of several sizes while `image_size` is None.
    """
    import tensorflow_datasets as tfds

    builder = _find_builder(name, data_dir)
    prepare(builder, name, data_dir)
    features = builder.info.features
    image = dict(features.items()).get("image")
    if not isinstance(image, tfds.features.Image) or image.np_dtype != np.uint8:
        raise DataError(f"{name}: must have a uint8 feature `image`; its features are {features}")
    # A builder under `tfds.testing.mock_data` declares no splits and serves any.
    declared = set(builder.info.splits) or {"train", "test"}
    if "train" not in declared:
        raise DataError(f"{name}: must have a split `train`; it has {', '.join(sorted(declared))}")
    wanted = [split for split in ("train", "validation", "test") if split in declared]
    arrays = {split: read_split(builder, name, split, image_size) for split in wanted}
    return _with_all_splits(name, arrays)


def _find_builder(name: str, data_dir: str | None):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=expanded(data_dir))
    except tfds.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name.partition("/")[0], tfds.list_builders(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise DataError(
            f"`{name}` must be photo_patches, npz:PATH, image_folder:PATH or the name of a "
            f"TensorFlow Datasets image set, and is none of them{hint}"
        ) from error
    # Also where a name cannot be parsed, and where a config or version does not exist.
    except Exception as error:
        raise DataError(
            f"`{name}` must be photo_patches, npz:PATH, image_folder:PATH or a TensorFlow Datasets "
            f"name such as cifar10; TFDS refuses it: {first_line(error)}"
        ) from error


def _with_all_splits(name: str, arrays: dict[str, np.ndarray]) -> ImageData:
    notes = []
    if "test" not in arrays and "validation" in arrays:
        arrays["test"] = arrays.pop("validation")
        notes.append("Its own validation split is scored as test.")
    for split in ("test", "validation"):
        if split not in arrays:
            train = arrays["train"]
            cut = min(5000, len(train) // 10) or 1
            if len(train) <= cut:
                raise DataError(
                    f"{name}: `train` must have more than {cut} images, as `{split}` is cut out of "
                    f"it; got {len(train)}"
                )
            arrays["train"], arrays[split] = train[:-cut], train[-cut:]
            notes.append(f"The {split} images are the last {cut} of its train split.")
    return ImageData(
        name,
        **arrays,
        description=" ".join(["TensorFlow Datasets " + name + ".", *notes]),
        jpeg_method="INTEGER_FAST",
    )
