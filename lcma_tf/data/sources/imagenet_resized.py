"""The newer ImageNet at 32x32 and 64x64 of Chrabaszcz et al. 2017, from its npz batches.

It is NOT the set of the RealNVP, Glow and LCMA papers (`downsampled_imagenet`): another downscaling,
on which models need fewer bits/dim.

Recipe. Source: `train_data_batch_1.npz` to `_10.npz` and `val_data.npz`, each row three planes of an
image, in zips such as `Imagenet32_train_npz.zip` or unpacked; or TensorFlow Datasets'
`imagenet_resized` where it is prepared. (Not the pickled batches of the same page.) Splits:
1,281,167 training and 50,000 validation images, checked. There is no test split: the validation
images are `test` here, and `validation` is the last 5,000 training images in the order of the
batches. No crop, no flips.

Memory: one batch of 0.4 or 1.6 GB while they are read, twice where it comes out of a zip; the pixels,
3.9 GB at 32x32 and 15.7 GB at 64x64, are on the disk (`lcma_tf.data.cache`).
"""

import io
import zipfile
from pathlib import Path

import numpy as np

from lcma_tf.data.cache import MEMORY, Filling, Store
from lcma_tf.data.cache.identity import identity_of_files
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.planes import images_of_rows
from lcma_tf.data.resize import resized
from lcma_tf.data.sources import local_files
from lcma_tf.data.sources.imagenet_versions import (
    COUNTS,
    NPZ_FILES,
    NPZ_STEMS,
    SIZES,
    check_counts,
    describe,
    find_batches,
    load_prepared,
)
from lcma_tf.data.sources.tfds import load_tfds
from lcma_tf.data.splits import with_all_splits
from lcma_tf.files.npz import read_array

_PAGE = "https://image-net.org/download-images, after a login"


def load_imagenet_resized(
    argument: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    store: Store = MEMORY,
) -> ImageData:
    """Reads `imagenet_resized/32x32` or `/64x64`.

    Args:
        argument: `/32x32` or `/64x64`; `/8x8`, `/16x16` and versions are left to TFDS.
        data_dir: folder of the zips, of what is in them, or TFDS' data folder.
        image_size: height and width in pixels to which each image is resized.
        store: where decoded images are kept.

    Raises:
        DataError: a batch is missing, torn or of another size; the counts are not those of this set;
            nothing is there and TFDS has not prepared it.
    """
    name = "imagenet_resized" + argument
    size = argument.removeprefix("/")
    if size not in SIZES:
        return load_tfds(name, data_dir, image_size, store=store)
    archives = " and ".join(f"{stem}.zip" for stem in NPZ_STEMS[size])
    advice = local_files.advice(archives, _PAGE, data_dir)
    found = find_batches(data_dir, size)
    if not found:
        prepared = load_prepared(name, data_dir, describe(name), advice, store)
        return resized(prepared, image_size, store)
    missing = [file for files in NPZ_FILES.values() for file in files if file not in found]
    if missing:
        raise DataError(f"{name}: must have all batches; missing {', '.join(missing)}; {advice}")
    side = int(size.partition("x")[0])

    def fill(filling: Filling) -> None:
        counts = {}
        for split, total in COUNTS["imagenet_resized"].items():
            with filling.array(split, total) as sink:
                counts[split] = 0
                for file in NPZ_FILES[split] if not sink.is_whole else ():
                    images = images_of_rows(f"{name}: {file}", _read_rows(name, *found[file]), side)
                    done = sink.filled - counts[split]  # Of this file, where it is gone on with.
                    # Rows beyond the count are counted too: how many there are says which set it is.
                    sink.append(images[max(done, 0) : max(total - counts[split], 0)])
                    counts[split] += len(images)
                if sink.is_whole:
                    counts[split] = sink.filled
        check_counts(name, counts)

    places = {file: [str(path.absolute()), member] for file, (path, member) in found.items()}
    paths = sorted({place for place, _ in places.values()})
    source = {"paths": paths, **identity_of_files("", paths)}
    arrays = store.arrays(name, {"files": places}, source, fill).arrays
    data = with_all_splits(name, arrays, f"{describe(name)} From npz files.")
    return resized(data, image_size, store)


def _read_rows(name: str, path: Path, member: str | None) -> np.ndarray:
    """The array `data` of one batch: uint8 `[N, 3 * side * side]`."""
    with local_files.reading(name, path if member is None else f"{path}/{member}"):
        source = path
        if member is not None:
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read(member))
        with zipfile.ZipFile(source) as batch:
            return read_array(batch, "data.npy")
