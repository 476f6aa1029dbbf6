"""The two downsampled ImageNets, told apart by their counts and their files.

`downsampled_imagenet` is the set of van den Oord et al. 2016, with which RealNVP, Glow and the LCMA
paper report. `imagenet_resized` is the newer one of Chrabaszcz et al. 2017: another downscaling of
nearly the same pictures, on which the same model needs fewer bits/dim. Papers mix the two up; here
neither is ever loaded under the other's name.
"""

import zipfile
from pathlib import Path

from lcma_tf.data.cache import MEMORY, Store
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.sources import local_files
from lcma_tf.data.sources.tfds import JPEG_METHOD, find_builder
from lcma_tf.data.sources.tfds_arrays import is_prepared, read_splits
from lcma_tf.data.splits import with_all_splits

# Images in train and validation; neither set has a test split.
COUNTS = {
    "downsampled_imagenet": {"train": 1_281_149, "validation": 49_999},
    "imagenet_resized": {"train": 1_281_167, "validation": 50_000},
}
SIZES = ("32x32", "64x64")

# The original files: PNG pictures in one tar a split, or batches of rows in npz files in zips.
PNG_STEMS = {"train": "train_{size}", "validation": "valid_{size}"}
NPZ_FILES = {
    "train": [f"train_data_batch_{number}.npz" for number in range(1, 11)],
    "validation": ["val_data.npz"],
}
NPZ_STEMS = {
    "32x32": ("Imagenet32_train_npz", "Imagenet32_val_npz"),
    "64x64": ("Imagenet64_train_part1_npz", "Imagenet64_train_part2_npz", "Imagenet64_val_npz"),
}


def check_counts(name: str, found: dict[str, int]) -> None:
    """Raises a `DataError` unless `found` are the counts of the set `name`, `KIND/SIZE`.

    If they are those of the other set, the message names it.
    """
    kind, _, size = name.partition("/")
    if found == COUNTS[kind]:
        return
    message = f"{name}: must have {_in_words(COUNTS[kind])} images; got {_in_words(found)}"
    other = _other(name)
    if any(found.get(split) == count for split, count in COUNTS[other].items()):
        raise DataError(
            f"{message}, as has {other}/{size}, another downscaling whose bits/dim do not compare; "
            f"its own name is {other}/{size}"
        )
    raise DataError(f"{message}; a part of a set can be loaded as npz:PATH or image_folder:PATH")


def find_pngs(data_dir: str | None, size: str) -> dict[str, Path]:
    """For each split that lies in `data_dir` its folder, else its tar file."""
    stems = {split: stem.format(size=size) for split, stem in PNG_STEMS.items()}
    found = {s: local_files.find(data_dir, stem, f"{stem}.tar") for s, stem in stems.items()}
    return {split: path for split, path in found.items() if path is not None}


def find_batches(data_dir: str | None, size: str) -> dict[str, tuple[Path, str | None]]:
    """For each npz file that lies in `data_dir` its path; or that of a zip, and its name in there.

    What is below a name with the size goes before what lies in `data_dir` itself.
    """
    files = [file for split_files in NPZ_FILES.values() for file in split_files]
    found: dict[str, tuple[Path, str | None]] = {}
    for stem in NPZ_STEMS[size]:
        archive = local_files.find(data_dir, f"{stem}.zip")
        if archive is not None:
            name = f"imagenet_resized/{size}"
            with local_files.reading(name, archive), zipfile.ZipFile(archive) as opened:
                members = opened.namelist()
            found |= {Path(m).name: (archive, m) for m in members if Path(m).name in files}
    for file in files:
        places = [f"{stem}/{file}" for stem in NPZ_STEMS[size]]
        places += [] if file in found else [file]
        path = local_files.find(data_dir, *places)
        if path is not None:
            found[file] = (path, None)
    return found


def load_prepared(
    name: str, data_dir: str | None, source: str, advice: str, store: Store = MEMORY
) -> ImageData:
    """Reads `KIND/SIZE` where TFDS has prepared it; nothing is downloaded.

    The servers that TFDS knows have lost the older set, and want a login for the newer one.

    Args:
        name: `KIND/SIZE`.
        data_dir: as the user gave it.
        source: opening of the description.
        advice: how the original files are had; ends the error message.
        store: where decoded images are kept.

    Raises:
        DataError: it is not prepared, or its counts are not those of its name.
    """
    size = name.partition("/")[2]
    builder = find_builder(name, data_dir)
    if not is_prepared(builder):
        lies_there = find_pngs(data_dir, size) or find_batches(data_dir, size)
        other = f"{_other(name)}/{size}"
        hint = f", but files of {other}, which must be loaded by that name" if lies_there else ""
        raise DataError(
            f"{name}: must lie in {local_files.folders(data_dir)[0]}, as its original files or "
            f"prepared by TensorFlow Datasets; found neither{hint}; {advice}"
        )
    check_counts(name, {split: info.num_examples for split, info in builder.info.splits.items()})
    arrays = read_splits(builder, name, store=store)
    source = f"{source} From TensorFlow Datasets {builder.info.full_name}."
    return with_all_splits(name, arrays, source, JPEG_METHOD)


def describe(name: str) -> str:
    """Opening of a description: which of the two it is, and how it is split."""
    kind = _kind(name)
    which = {
        "downsampled_imagenet": "the downsampled ImageNet of the flow papers (van den Oord et al. "
        "2016)",
        "imagenet_resized": "the newer resized ImageNet (Chrabaszcz et al. 2017), whose bits/dim "
        "are lower than those of downsampled_imagenet and do not compare with them",
    }
    return (
        f"{name}: {which[kind]}, {_in_words(COUNTS[kind])} images (counted). No test split exists."
    )


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _other(name: str) -> str:
    return next(kind for kind in COUNTS if kind != _kind(name))


def _in_words(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {split}" for split, count in counts.items())
