"""CIFAR-10 from its original archives, else from TensorFlow Datasets.

Recipe. Source: `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, the same images in the same
order, 50,000 for training and 10,000 for testing, 32x32 colour. Splits: the official test set;
validation is the last 5,000 training images, as there is no official one. No crop. Flips in
training: the flag of the run.

The same images come from TFDS in another order, so that the validation images differ.
"""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.planes import images_of_rows
from lcma_tf.data.resize import resized
from lcma_tf.data.sources import local_files
from lcma_tf.data.sources.cifar_pickle import pickled_rows
from lcma_tf.data.sources.tfds import load_tfds
from lcma_tf.data.splits import with_all_splits

IMAGES_PER_FILE = 10_000

_SIZE = 32
_ROW = 3 * _SIZE * _SIZE
_MAX_FILE = 2 * IMAGES_PER_FILE * _ROW  # Bytes; what goes on beyond that is no batch.
_FILES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def load_cifar10(
    argument: str = "", data_dir: str | None = None, image_size: int | None = None
) -> ImageData:
    """Reads CIFAR-10 from an archive in `data_dir`, else from TFDS.

    Args:
        argument: empty for the archives; a version or configuration is left to TFDS.
        data_dir: folder of `cifar-10-binary.tar.gz` or `cifar-10-python.tar.gz`, of what is in
            them, or TFDS' data folder.
        image_size: height and width in pixels to which each image is resized.

    Raises:
        DataError: an archive that is torn, incomplete or of another form, or there is none and TFDS
            cannot prepare the set.
    """
    name = "cifar10" + argument
    found = next(
        (
            (path, suffix, rows)
            for places, suffix, rows in _FORMS
            if (path := local_files.find(data_dir, *places))
        ),
        None,
    )
    if argument or found is None:
        archives = "cifar-10-binary.tar.gz or cifar-10-python.tar.gz"
        advice = local_files.advice(archives, _PAGE, data_dir)
        return load_tfds(name, data_dir, image_size, advice)
    path, suffix, rows_of = found
    contents = _read_files(name, path, suffix)
    arrays = {}
    for split, files in _FILES.items():
        images = np.empty((len(files) * IMAGES_PER_FILE, _SIZE, _SIZE, 3), np.uint8)
        for index, file in enumerate(files):
            with local_files.reading(name, f"{path}/{file}{suffix}"):
                rows = rows_of(contents[file])
            if len(rows) != IMAGES_PER_FILE:
                raise DataError(
                    f"{name}: {path}/{file}{suffix} must hold {IMAGES_PER_FILE:,} images; got "
                    f"{len(rows):,}"
                )
            start = index * IMAGES_PER_FILE
            images[start : start + IMAGES_PER_FILE] = images_of_rows(name, rows, _SIZE)
        arrays[split] = images
    counts = " and ".join(f"{len(images):,} {split}" for split, images in arrays.items())
    source = f"CIFAR-10 (Krizhevsky 2009) from {path.name}: {counts} images."
    return resized(with_all_splits(name, arrays, source), image_size)


def _read_files(name: str, path: Path, suffix: str) -> dict[str, bytes]:
    """The bytes of all six files, out of a folder or a tar.gz of one."""
    wanted = {f"{file}{suffix}": file for files in _FILES.values() for file in files}
    contents = {}
    with local_files.reading(name, path):
        if path.is_dir():
            for file, stem in wanted.items():
                if (path / file).is_file():
                    with open(path / file, "rb") as opened:
                        contents[stem] = opened.read(_MAX_FILE)
        else:
            with tarfile.open(path, "r|gz") as archive:
                for member in archive:
                    stem = wanted.get(Path(member.name).name)
                    opened = archive.extractfile(member) if stem else None
                    if stem and opened:
                        contents[stem] = opened.read(_MAX_FILE)
    missing = [file for file, stem in wanted.items() if stem not in contents]
    if missing:
        raise DataError(
            f"{name}: {path} must hold all six batches; missing {', '.join(missing)}; fetch the "
            f"whole archive again ({_PAGE})"
        )
    return contents


def _binary_rows(data: bytes) -> np.ndarray:
    """Rows of one `.bin` file: a byte of label before each image."""
    return np.frombuffer(data, np.uint8).reshape(-1, 1 + _ROW)[:, 1:]


# Places in order of preference, what file names end with, function from a file's bytes to its rows.
_FORMS: tuple[tuple[tuple[str, ...], str, Callable[[bytes], np.ndarray]], ...] = (
    (("cifar-10-batches-bin", "cifar-10-binary.tar.gz"), ".bin", _binary_rows),
    (("cifar-10-batches-py", "cifar-10-python.tar.gz"), "", pickled_rows),
)
