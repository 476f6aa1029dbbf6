"""Images from a folder of PNG and JPEG files.

Split by the folders `train`, `validation` and `test`, or, where there are none, by a hash of each
file's name: an image then keeps its split when others are added or removed.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lcma_tf.data.image_data import SPLITS, DataError, ImageData
from lcma_tf.data.resize import center_square

_SUFFIXES = (".png", ".jpg", ".jpeg")


def load_image_folder(
    path: str, data_dir: str | None = None, image_size: int | None = None
) -> ImageData:
    """Reads every .png, .jpg and .jpeg file below a folder, in order of its relative name.

    Args:
        path: the folder; `~` is expanded. With sub-folders `train`, `validation` and `test` those
            are the splits; with none of the three, about 80 / 10 / 10 % by hash of the file's name
            relative to `path`.
        data_dir: not used.
        image_size: height and width in pixels to which every file is brought (largest centred
            square, then an area average when shrinking); may be left out if all files are of one
            size.

    Greyscale files stay one channel if all files are grey; otherwise everything becomes RGB.
    Transparency is dropped, and a camera's orientation mark is obeyed.

    Raises:
        DataError: no such folder, an empty split, a file that cannot be read or is not 8-bit, or
            files of several sizes without `image_size`.
    """
    del data_dir
    name = f"image_folder:{path}"
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{name}: must name an existing folder; there is none at {str(root)!r}")
    files, rule = _split_files(name, root)
    for split in SPLITS:
        if not files[split]:
            found = ", ".join(f"{len(files[s])} {s}" for s in SPLITS)
            raise DataError(
                f"{name}: every split must have a {'/'.join(_SUFFIXES)} file; found {found}"
            )
    pictures = list(_read_files(name, [f for split in SPLITS for f in files[split]], image_size))
    grey = all(picture.ndim == 2 for picture in pictures)
    images = np.stack([_with_channels(picture, grey) for picture in pictures])
    ends = np.cumsum([len(files[split]) for split in SPLITS])
    return ImageData(name, *np.split(images, ends[:-1]), description=rule)


def _split_files(name: str, root: Path) -> tuple[dict[str, list[Path]], str]:
    present = [split for split in SPLITS if (root / split).is_dir()]
    if present and len(present) < len(SPLITS):
        raise DataError(
            f"{name}: must have all of the folders {', '.join(SPLITS)} or none of them; "
            f"found only {', '.join(present)}"
        )
    if present:
        return {s: _images_below(root / s) for s in SPLITS}, "Splits by folder."
    files = {split: [] for split in SPLITS}
    for file in _images_below(root):
        files[_hashed_split(file.relative_to(root).as_posix())].append(file)
    return files, "Splits by hash of the file name, about 80 / 10 / 10 %."


def _images_below(folder: Path) -> list[Path]:
    found = [f for f in folder.rglob("*") if f.suffix.lower() in _SUFFIXES and f.is_file()]
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _hashed_split(relative_name: str) -> str:
    # Python's own hash() of a string differs from one process to the next.
    bucket = int.from_bytes(hashlib.sha256(relative_name.encode()).digest()[:8], "big") % 10
    return {0: "test", 1: "validation"}.get(bucket, "train")


def _read_files(name: str, files: list[Path], image_size: int | None) -> Iterator[np.ndarray]:
    first = None
    for file in files:
        picture = _read_picture(name, file)
        if image_size is not None:
            picture = center_square(picture, image_size)
        first = first or (file, picture.size)
        if picture.size != first[1]:
            raise DataError(
                f"{name}: files must be of one size unless `image_size` is given; got "
                f"{first[0]} with {first[1][0]}x{first[1][1]} pixels and {file} with "
                f"{picture.width}x{picture.height}"
            )
        yield np.asarray(picture)


def _read_picture(name: str, file: Path) -> Image.Image:
    """One file as a Pillow image of mode `L` or `RGB`."""
    try:
        with Image.open(file) as opened:
            mode = opened.mode
            picture = ImageOps.exif_transpose(opened)
    # Pillow's decoders answer broken files with nearly anything, SyntaxError included.
    except Exception as error:
        raise DataError(
            f"{name}: every image file must be readable; {os.fspath(file)} is not: {error}"
        ) from error
    if mode[0] in "IF":
        raise DataError(f"{name}: image files must have 8 bits a channel; {file} has mode {mode}")
    return picture.convert("L" if mode in ("1", "L", "LA") else "RGB")


def _with_channels(picture: np.ndarray, grey: bool) -> np.ndarray:
    if picture.ndim == 3:
        return picture
    return picture[..., None] if grey else np.repeat(picture[..., None], 3, axis=-1)
