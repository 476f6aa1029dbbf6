"""CelebA as in the RealNVP paper: aligned faces, cropped to 148x148, resized to 64x64.

Recipe. Source: `img_align_celeba.zip`, 202,599 JPEG files of 178x218, and `list_eval_partition.txt`;
or TensorFlow Datasets' `celeb_a`, made of the same two. Splits: the official partition, 162,770 /
19,867 / 19,962. Crop: rows 40 to 187 and columns 15 to 162. Resize: by a named resampler, since
published figures differ by it: `program` as the RealNVP program (real-valued pixels, so float32
here: about 10 GB, and no bound for 8-bit images), `antialias` as SurVAE and DenseFlow (8 bits, 2.5
GB). Flips in training: the flag of the run; the program mirrors before it resizes, which moves its
corner samples by 1.3 of the 148 pixels in mirrored images.

The zip need not be unpacked; reading it takes about two minutes of one core.
"""

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sized
from pathlib import Path

import numpy as np

from lcma_tf.choices import RESAMPLERS
from lcma_tf.data.cache import MEMORY, Filling, Store
from lcma_tf.data.cache.identity import identity_of_folder
from lcma_tf.data.image_data import SPLITS, DataError, ImageData
from lcma_tf.data.resample import DEFAULT_RESAMPLER
from lcma_tf.data.sources import local_files
from lcma_tf.data.sources.tfds import JPEG_METHOD, find_builder
from lcma_tf.data.sources.tfds_arrays import prepare, read_splits
from lcma_tf.data.splits import with_all_splits
from lcma_tf.image_files import MAX_BYTES, read_image_file

COUNTS = {"train": 162_770, "validation": 19_867, "test": 19_962}

_SIZE = 64
_FACE = (slice(40, 188), slice(15, 163))  # Rows, columns.
_WIDTH, _HEIGHT = 178, 218
# As they are, or in the folders of the official download.
_ARCHIVE = ("img_align_celeba.zip", "Img/img_align_celeba.zip")
_FOLDER = ("img_align_celeba", "Img/img_align_celeba")
_PARTITION = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")
_PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


def load_celeb_a(
    argument: str = "",
    data_dir: str | None = None,
    image_size: int | None = None,
    resampler: str = DEFAULT_RESAMPLER,
    store: Store = MEMORY,
) -> ImageData:
    """Reads CelebA from its archive below `data_dir`, else from TFDS.

    Args:
        argument: must be empty.
        data_dir: folder of `img_align_celeba.zip` (or that folder) and `list_eval_partition.txt`,
            or TFDS' data folder.
        image_size: height and width in pixels; None is 64.
        resampler: a name of `lcma_tf.choices.RESAMPLERS`.
        store: where decoded images are kept.

    Raises:
        DataError: one of the two files is missing, torn or not the official one, or neither is
            there and TFDS cannot prepare the set or has it with other counts.
    """
    name = "celeb_a" + argument
    if argument:
        raise DataError(f"{name}: must be celeb_a; it has no configurations")
    size, resample = image_size or _SIZE, RESAMPLERS[resampler]

    def face(image: np.ndarray) -> np.ndarray:
        return resample(image[_FACE], size)

    is_8_bit = face(np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)).dtype == np.uint8
    recipe = f"rows 40-187 and columns 15-162 to {size}x{size} by the resampler '{resampler}'"
    recipe += f" ({'8-bit' if is_8_bit else 'real-valued'} pixels)."
    asked = {"size": size, "resampler": resampler}
    advice = local_files.advice(f"{_ARCHIVE[0]} and {_PARTITION[0]}", _PAGE, data_dir)
    pictures = local_files.find(data_dir, *_FOLDER, *_ARCHIVE)
    partition = local_files.find(data_dir, *_PARTITION)
    if pictures is None and partition is None:
        builder = find_builder(name, data_dir)
        prepare(builder, name, data_dir, advice)
        arrays = read_splits(builder, name, transform=face, store=store, asked=asked)
        _check_counts(name, builder.data_dir, arrays)
        source = f"CelebA from TensorFlow Datasets {builder.info.full_name}, official partition, "
        source += recipe
        return with_all_splits(name, arrays, source, JPEG_METHOD)
    if pictures is None or partition is None:
        missing = _ARCHIVE[0] if pictures is None else _PARTITION[0]
        raise DataError(
            f"{name}: must have both pictures and partition; found {pictures or partition}, but no "
            f"{missing}; {advice}"
        )
    files = _read_partition(name, partition)
    places = [str(path.absolute()) for path in (pictures, partition)]
    kept = [identity_of_folder(place) for place in places]
    source = {"pictures": kept[0], "partition": kept[1]}
    arrays = store.arrays(
        name,
        {**asked, "files": places},
        source,
        lambda filling: _read_faces(name, pictures, files, face, filling),
    ).arrays
    source = f"CelebA from {pictures.name}, official partition, {recipe}"
    return with_all_splits(name, arrays, source)


def _read_partition(name: str, path: Path) -> dict[str, list[str]]:
    """File names of each split, in the order of the list."""
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    of_number = dict(zip("012", files.values(), strict=True))
    with local_files.reading(name, path):
        for line in path.read_text("ascii").splitlines():
            if line.strip():
                file, number = line.split()
                of_number[number].append(file)
    _check_counts(name, path, files)
    return files


def _check_counts(name: str, path: Path | str, splits: Mapping[str, Sized]) -> None:
    found = {split: len(images) for split, images in splits.items()}
    if found != COUNTS:
        raise DataError(
            f"{name}: {path} must have the official partition, {_in_words(COUNTS)} images; got "
            f"{_in_words(found)}"
        )


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())


def _read_faces(
    name: str,
    path: Path,
    files: dict[str, list[str]],
    face: Callable[[np.ndarray], np.ndarray],
    filling: Filling,
) -> None:
    """Every picture once, into one array a split."""
    with _opened(name, path) as read:
        for split, names in files.items():
            with filling.array(split, len(names)) as sink:
                for file in names[sink.filled :]:
                    with local_files.reading(name, f"{path}/{file}"):
                        picture = local_files.decode_picture(read(file), "JPEG", _WIDTH, _HEIGHT)
                        image = face(picture)
                    sink.append(image[None])


@contextlib.contextmanager
def _opened(name: str, path: Path) -> Iterator[Callable[[str], bytes]]:
    """A function from a picture's name to its bytes, for a folder or the zip of one."""
    if path.is_dir():
        yield lambda file: read_image_file(path / file)
        return
    with local_files.reading(name, path):
        archive = zipfile.ZipFile(path)
    with archive:

        def read(file: str) -> bytes:
            with archive.open(f"img_align_celeba/{file}") as opened:
                return opened.read(MAX_BYTES)

        yield read
