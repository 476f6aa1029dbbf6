"""Images from a folder of PNG and JPEG files.

Split by the folders `train`, `validation` and `test`, or, where there are none, by a hash of each
file's name: an image then keeps its split when others are added or removed.
"""

import hashlib
from pathlib import Path

import numpy as np

from lcma_tf.data.image_data import SPLITS, DataError, ImageData
from lcma_tf.data.resize import center_square
from lcma_tf.data.sources.folder_walk import SUFFIXES, walk
from lcma_tf.files.paths import printable
from lcma_tf.image_files import ImageFileError, decode_image, read_image_file

_NUM_NAMED = 5  # Of the bad files that are left out.


def load_image_folder(
    path: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    skip_bad_images: bool = False,
) -> ImageData:
    """Reads every .png, .jpg and .jpeg file below a folder, in order of its relative name.

    Files are PNG or JPEG by their content. Links to folders are followed, each folder once.

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

    Greyscale files stay one channel if all files are grey; otherwise everything becomes RGB.
    Transparency is dropped, and a camera's orientation mark is obeyed.

    Raises:
        DataError: no such folder or one that cannot be read, an empty split, a file that cannot be
            decoded or has more than 8 bits a channel, or files of several sizes without `image_size`.
    """
    del data_dir
    name = printable(f"image_folder:{path}")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(
            f"{name}: must name an existing folder; there is none at {printable(root.absolute())!r}"
        )
    files, rule = _split_files(name, root)
    _check_splits(name, files)
    reader = _Reader(name, root, image_size, skip_bad_images)
    pictures = {split: reader.read(files[split]) for split in SPLITS}
    _check_splits(name, pictures, reader.left_out())
    grey = all(picture.ndim == 2 for split in SPLITS for picture in pictures[split])
    train, validation, test = (
        np.stack([_with_channels(picture, grey) for picture in pictures.pop(split)])
        for split in SPLITS
    )
    description = " ".join(filter(None, [rule, reader.left_out()]))
    return ImageData(name, train, validation, test, description=description)


def _split_files(name: str, root: Path) -> tuple[dict[str, list[Path]], str]:
    present = [split for split in SPLITS if (root / split).is_dir()]
    if present and len(present) < len(SPLITS):
        raise DataError(
            f"{name}: must have all of the folders {', '.join(SPLITS)} or none of them; "
            f"found only {', '.join(present)}"
        )
    if present:
        found = walk(name, [root / split for split in SPLITS], above=root)
        return dict(zip(SPLITS, found, strict=True)), "Splits by folder."
    files = {split: [] for split in SPLITS}
    for file in walk(name, [root])[0]:
        files[_hashed_split(file.relative_to(root).as_posix())].append(file)
    return files, "Splits by hash of the file name, about 80 / 10 / 10 %."


def _check_splits(name: str, splits: dict[str, list], note: str = "") -> None:
    if not all(splits.values()):
        found = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
        raise DataError(
            f"{name}: every split must have a {'/'.join(SUFFIXES)} file; found {found}"
            f"{'. ' * bool(note)}{note}"
        )


def _hashed_split(relative_name: str) -> str:
    # Python's own hash() of a string differs from one process to the next. The bytes of a name that is
    # no UTF-8 are what the file system has.
    content = relative_name.encode("utf-8", "surrogateescape")
    bucket = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") % 10
    return {0: "test", 1: "validation"}.get(bucket, "train")


class _Reader:
    """Reads files to pixels of one size, and counts those that it leaves out."""

    def __init__(self, name: str, root: Path, image_size: int | None, skips: bool):
        self._name, self._root = name, root
        self._image_size, self._skips = image_size, skips
        self._first = None
        self._bad: list[str] = []

    def read(self, files: list[Path]) -> list[np.ndarray]:
        """uint8 `[H, W]` or `[H, W, 3]` of every good file."""
        pictures = []
        for file in files:
            try:
                picture = decode_image(read_image_file(file))
            except ImageFileError as error:
                self._refuse(file, error)
                continue
            if self._image_size is not None:
                picture = center_square(picture, self._image_size)
            self._first = self._first or (file, picture.size)
            first, (width, height) = self._first
            if picture.size != (width, height):
                raise DataError(
                    f"{self._name}: files must be of one size unless `image_size` is given; got "
                    f"{printable(first)} with {width}x{height} pixels and {printable(file)} with "
                    f"{picture.width}x{picture.height}"
                )
            pictures.append(np.asarray(picture))
        return pictures

    def left_out(self) -> str:
        """A sentence on the files that were left out; empty if none was."""
        if not self._bad:
            return ""
        count, named = len(self._bad), self._bad[:_NUM_NAMED]
        further = f" and {count - len(named):,} more" if count > len(named) else ""
        files = "1 bad image file was" if count == 1 else f"{count:,} bad image files were"
        return f"{files} left out: {'; '.join(named)}{further}."

    def _refuse(self, file: Path, error: ImageFileError) -> None:
        if not self._skips:
            raise DataError(
                f"{self._name}: every image file must be readable; {printable(file)} is not: it "
                f"{error}; `skip_bad_images` leaves such files out"
            ) from error
        self._bad.append(f"{printable(file.relative_to(self._root).as_posix())} ({error})")


def _with_channels(picture: np.ndarray, grey: bool) -> np.ndarray:
    if picture.ndim == 3:
        return picture
    return picture[..., None] if grey else np.repeat(picture[..., None], 3, axis=-1)
