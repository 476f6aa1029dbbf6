"""Any TensorFlow Datasets image set as arrays, with a validation and a test split for all of them.

A set that is prepared already is read without touching the network.
"""

import difflib

from lcma_tf.data.cache import MEMORY, Store
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.sources.local_files import expanded, require_tfds
from lcma_tf.data.sources.tfds_arrays import first_line, prepare, read_splits
from lcma_tf.data.splits import with_all_splits

# TFDS decodes JPEG with TensorFlow's default, which is the fast method.
JPEG_METHOD = "INTEGER_FAST"


def load_tfds(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    advice: str | None = None,
    validation_share: float | None = None,
    store: Store = MEMORY,
) -> ImageData:
    """Reads `name`, preparing it first (a download, for most sets) if it is not prepared.

    Splits that the set lacks are made by `with_all_splits`. The description gives the configuration
    and version that TFDS took, as `name` may leave them out.

    Args:
        name: a TFDS name with a uint8 `image` feature: `svhn_cropped`, `kmnist`.
        data_dir: TFDS' data folder; None is TFDS' own default (`TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).
        image_size: height and width in pixels to which each image is brought (largest centred
            square, area average when shrinking).
        advice: how the set can be had where it cannot be prepared; None = TFDS' manual way.
        validation_share: of train, for a set without a validation or a test split
            (`with_all_splits`).
        store: where decoded images are kept.

    Without a network TFDS retries a download for about 200 seconds before it gives up.

    Raises:
        DataError: an unknown name, a set that cannot be prepared, has no uint8 `image`, too few
            images, or images of several sizes while `image_size` is None.
    """
    builder = find_builder(name, data_dir)
    prepare(builder, name, data_dir, advice)
    arrays = read_splits(builder, name, image_size, store=store)
    source = f"TensorFlow Datasets {builder.info.full_name}."
    if image_size is not None:
        source += f" Largest centred squares, brought to {image_size}x{image_size} pixels."
    return with_all_splits(name, arrays, source, JPEG_METHOD, validation_share)


def find_builder(name: str, data_dir: str | None, argument: str | None = None):
    """TFDS' builder of that name, prepared or not.

    Args:
        name, data_dir: as of `load_tfds`.
        argument: what takes names of TFDS alone, after `tfds:`; None = names of all data sets.

    Raises:
        DataError: TFDS has none.
        MissingExtraError: TFDS is not installed.
    """
    require_tfds()
    import tensorflow_datasets as tfds

    told = (
        f"`{name}` must be photo_patches, npz:PATH, image_folder:PATH or the name of a TensorFlow "
        "Datasets image set, and is none of them"
    )
    if argument is not None:
        rule = "tfds: and the name of a TensorFlow Datasets image set"
        told = f"`{argument}` must be {rule}; got {name!r}"
    try:
        return tfds.builder(name, data_dir=expanded(data_dir))
    except tfds.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name.partition("/")[0], tfds.list_builders(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise DataError(f"{told}{hint}") from error
    # Also where a name cannot be parsed, and where a config or version does not exist.
    except Exception as error:
        raise DataError(f"{told}; TFDS refuses it: {first_line(error)}") from error
