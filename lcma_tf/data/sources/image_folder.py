"""Images from a folder of PNG and JPEG files.

Split by the folders `train`, `validation` and `test`, or, where there are none, by a hash of each
file's name: an image then keeps its split when others are added or removed. What is only scored needs
no splits: a folder without them is then taken whole.
"""

import hashlib
from collections import Counter
from pathlib import Path

from lcma_tf.data.cache import MEMORY, Store
from lcma_tf.data.image_data import SPLITS, DataError, ImageData
from lcma_tf.data.one_split import WHOLE, OneSplit
from lcma_tf.data.sources.folder_reader import FolderReader, skipped_by_suffix
from lcma_tf.data.sources.folder_walk import SUFFIXES, relative_names, walk
from lcma_tf.data.splits import shares
from lcma_tf.files.paths import printable

_BY_FOLDER = "Splits by folder."
_BY_HASH = "Splits by hash of the file name"
_CURE = (
    "sub-folders train, validation and test make the splits yours, and `validation_share` makes that "
    "of validation, and of test, larger"
)


def load_image_folder(
    path: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    skip_bad_images: bool = False,
    validation_share: float | None = None,
    store: Store = MEMORY,
) -> ImageData:
    """Reads every .png, .jpg and .jpeg file below a folder, in order of its relative name.

    Files are PNG or JPEG by their content. Links to folders are followed, each folder once. The
    description counts the files that were skipped by their suffix, enlarged, made RGB, or robbed of
    their transparency.

    Args:
        path: the folder; `~` is expanded. With sub-folders `train`, `validation` and `test` those
            are the splits; with none of the three, about 80 / 10 / 10 % by hash of the file's name
            relative to `path`.
        data_dir: not used.
        image_size: height and width in pixels to which every file is brought (largest centred
            square, then an area average when shrinking); may be left out if all files are of one
            size.
        skip_bad_images: leave out files that cannot be decoded; the description says how many, and
            names the first.
        validation_share: of a folder without sub-folders the share of validation, in (0, 0.5], and of
            test (`lcma_tf.data.splits.shares`), by the same hash; None = 10 % each.
        store: where decoded images are kept.

    Greyscale files stay one channel if all files are grey; otherwise everything becomes RGB.
    Transparency is dropped, and a camera's orientation mark is obeyed.

    Raises:
        DataError: no such folder or one that cannot be read, an empty split, a file that cannot be
            decoded or has more than 8 bits a channel, or files of several sizes without `image_size`.
    """
    del data_dir
    name, root = _folder(path)
    present = _sub_folders(root)
    if present and len(present) < len(SPLITS):
        raise DataError(
            f"{name}: must have all of the folders {', '.join(SPLITS)} or none of them; "
            f"found only {', '.join(present)}"
        )
    files: dict[str, list[Path]] = {}
    if present:
        if validation_share is not None:
            raise DataError(
                f"{name}: `validation_share` must be None where sub-folders make the splits; got "
                f"{validation_share}"
            )
        found, skipped = walk(name, [root / split for split in SPLITS], above=root)
        files.update(zip(SPLITS, found, strict=True))
        rule = _BY_FOLDER
    else:
        (everything,), skipped = walk(name, [root])
        files.update(_by_hash(root, everything, validation_share))
        rule = _rule(validation_share)
    _check_splits(name, files, skipped_by_suffix(skipped), bool(present))
    reader = FolderReader(name, root, image_size, skip_bad_images)
    images, good = reader.read({split: files[split] for split in SPLITS}, store)
    _check_splits(name, good, reader.left_out(), bool(present))
    return ImageData(
        name,
        images["train"],
        images["validation"],
        images["test"],
        description=_described(rule, reader, skipped),
    )


def load_folder_to_score(
    path: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    skip_bad_images: bool = False,
    validation_share: float | None = None,
    store: Store = MEMORY,
    *,
    split: str | None = None,
    usual_split: str = "test",
) -> OneSplit:
    """Of the same folder one split, or all of it; no other file is opened.

    Args:
        path: as for `load_image_folder`.
        data_dir: not used.
        image_size: as for `load_image_folder`.
        skip_bad_images: likewise.
        validation_share: likewise; where there are sub-folders it has no say.
        store: likewise.
        split: that of the sub-folder of this name, which alone must be there; of a folder without such
            sub-folders, that by hash. None = `usual_split` where there are sub-folders, else all files.
        usual_split: as said.

    Raises:
        DataError: as `load_image_folder`.
    """
    del data_dir
    name, root = _folder(path)
    present = _sub_folders(root)
    if present:
        split, rule = split or usual_split, _BY_FOLDER
        if split not in present:
            raise DataError(
                f"{name}: must have a folder {split} to score that split; found only "
                f"{', '.join(present)}"
            )
        # All of them: a link to a file of another split adds nothing, as in `load_image_folder`.
        found, skipped = walk(name, [root / other for other in present], above=root)
        files = found[present.index(split)]
    else:
        (files,), skipped = walk(name, [root])
        rule = "No splits: all files." if split is None else _rule(validation_share)
        if split is not None:
            by_split = _by_hash(root, files, validation_share)
            _check_splits(name, by_split, skipped_by_suffix(skipped), False, needed=split)
            files = by_split[split]
    reader = FolderReader(name, root, image_size, skip_bad_images)
    whole = split or WHOLE
    images, good = reader.read({whole: files}, store)
    if not good[whole]:
        notes = [note for note in (reader.left_out(), skipped_by_suffix(skipped)) if note]
        raise DataError(
            f"{name}: must have a {'/'.join(SUFFIXES)} file to score; found none"
            f"{'. ' * bool(notes)}{' '.join(notes)}"
        )
    return OneSplit(
        name,
        whole,
        images[whole],
        description=_described(rule, reader, skipped),
        file_names=tuple(map(relative_names(root), good[whole])),
    )


def hashed_split(relative_name: str, validation_share: float | None = None) -> str:
    """The split of a file, by its name relative to a folder without sub-folders for splits."""
    # Python's own hash() of a string differs from one process to the next. The bytes of a name that is
    # no UTF-8 are what the file system has.
    content = relative_name.encode("utf-8", "surrogateescape")
    number = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    if validation_share is None:
        return {0: "test", 1: "validation"}.get(number % 10, "train")
    # Test from below, validation from above: a larger share only adds to either, up to a third.
    place, share = number / 2**64, shares(validation_share)
    if place < share["test"]:
        return "test"
    return "validation" if place >= 1 - share["validation"] else "train"


def _folder(path: str) -> tuple[str, Path]:
    name = printable(f"image_folder:{path}")
    if not path:  # Which would be the folder that this happens to run in.
        raise DataError("`image_folder:PATH` must name an existing folder; got no path")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{name}: must name an existing folder; there is none at {printable(root.absolute())!r}"
        )
    return name, root


def _sub_folders(root: Path) -> list[str]:
    return [split for split in SPLITS if (root / split).is_dir()]


def _by_hash(root: Path, files: list[Path], share: float | None) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {split: [] for split in SPLITS}
    name_of = relative_names(root)
    for file in files:
        found[hashed_split(name_of(file), share)].append(file)
    return found


def _rule(share: float | None) -> str:
    if share is None:
        return f"{_BY_HASH}, about 80 / 10 / 10 %."
    validation, test = (100 * shares(share)[split] for split in ("validation", "test"))
    return f"{_BY_HASH}, about {100 - validation - test:.0f} / {validation:.0f} / {test:.0f} %."


def _check_splits(
    name: str, splits: dict[str, list], note: str, by_folder: bool, *, needed: str | None = None
) -> None:
    if all(splits[split] for split in ([needed] if needed else SPLITS)):
        return
    found = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    cure = "" if by_folder else f" by hash of the file names; {_CURE}"
    every = f"`{needed}`" if needed else "every split"
    raise DataError(
        f"{name}: {every} must have a {'/'.join(SUFFIXES)} file; found {found}{cure}"
        f"{'. ' * bool(note)}{note}"
    )


def _described(rule: str, reader: FolderReader, skipped: Counter[str]) -> str:
    notes = (rule, reader.left_out(), reader.changed(), skipped_by_suffix(skipped))
    return " ".join(filter(None, notes))
