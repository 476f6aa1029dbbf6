"""MNIST and Fashion-MNIST from their original idx files, else from TensorFlow Datasets.

Recipe. Source: `train-images-idx3-ubyte.gz` and `t10k-images-idx3-ubyte.gz` (or unpacked), 60,000 and
10,000 grey images of 28x28. The two sets use the same file names, so each file must have its set's
sum of pixels: one set is not taken for the other. Splits: the official test set; validation is the
last 5,000 training images. No crop, no flips. 28 halves twice only: pad to 32 for more scales.

The same images come from TFDS in another order, so that the validation images differ.
"""

import functools
import gzip
import math
from pathlib import Path

import numpy as np

from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.resize import resized
from lcma_tf.data.sources import local_files
from lcma_tf.data.sources.tfds import load_tfds
from lcma_tf.data.splits import with_all_splits

_FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
_SHAPES = {"train": (60_000, 28, 28), "test": (10_000, 28, 28)}
_MAGIC = 0x00000803  # Unsigned bytes, three axes.

PIXEL_SUMS = {
    "mnist": {"train": 1_567_298_545, "test": 264_923_200},
    "fashion_mnist": {"train": 3_431_114_169, "test": 573_469_082},
}
_PAGES = {
    "mnist": "http://yann.lecun.com/exdb/mnist/",
    "fashion_mnist": "https://github.com/zalandoresearch/fashion-mnist",
}


def load_idx(
    kind: str, argument: str = "", data_dir: str | None = None, image_size: int | None = None
) -> ImageData:
    """Reads a set from its idx files in `data_dir` or a sub-folder of its name, else from TFDS.

    Args:
        kind: `mnist` or `fashion_mnist`.
        argument: empty for the idx files; a version or configuration is left to TFDS.
        data_dir: folder of the idx files, of a folder `kind` with them, or TFDS' data folder.
        image_size: height and width in pixels to which each image is resized.

    Raises:
        DataError: a file is missing, torn, of another shape or another set's, or there is none and
            TFDS cannot prepare the set.
    """
    name = kind + argument
    files = {split: _find(kind, file, data_dir) for split, file in _FILES.items()}
    named = " and ".join(f"{file}.gz" for file in _FILES.values())
    advice = local_files.advice(named, _PAGES[kind], data_dir)
    if argument or not any(files.values()):
        return load_tfds(name, data_dir, image_size, advice)
    arrays = {}
    for split, path in files.items():
        if path is None:
            raise DataError(f"{name}: must have the {split} images too; {advice}")
        with local_files.reading(name, path):
            arrays[split] = _parse(name, path, _SHAPES[split])
        found, wanted = int(arrays[split].sum(dtype=np.uint64)), PIXEL_SUMS[kind][split]
        if found != wanted:
            others = [other for other, sums in PIXEL_SUMS.items() if sums[split] == found]
            raise DataError(
                f"{name}: pixels of {path} must add up to {wanted:,}; got {found:,}, which is "
                f"{others[0] if others else 'another set'}"
            )
    source = (
        f"{name} from its idx files: 60,000 training and 10,000 test images, pixel sums checked."
    )
    return resized(with_all_splits(name, arrays, source), image_size)


load_mnist = functools.partial(load_idx, "mnist")
load_fashion_mnist = functools.partial(load_idx, "fashion_mnist")


def _find(kind: str, file: str, data_dir: str | None) -> Path | None:
    places = (f"{kind}/{file}.gz", f"{kind}/{file}", f"{file}.gz", file)
    return local_files.find(data_dir, *places)


def _parse(name: str, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The images uint8 `[N, 28, 28, 1]` of one idx file."""
    length = 16 + math.prod(shape)
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        data = file.read(length + 1)  # No more than that of a file that never ends.
    header = tuple(int(number) for number in np.frombuffer(data, ">u4", count=4))
    if header != (_MAGIC, *shape) or len(data) != length:
        more = "" if len(data) <= length else " or more"
        raise DataError(
            f"{name}: {path} must be an idx file of {list(shape)} bytes; got magic number "
            f"{header[0]:#010x}, shape {list(header[1:])}, {len(data):,}{more} bytes in all"
        )
    return np.frombuffer(data, np.uint8, offset=16).reshape(*shape, 1)
