"""ImageNet at 32x32 and 64x64 as in the RealNVP paper, from the original tars of PNG files.

Recipe. Source: `train_32x32.tar` and `valid_32x32.tar` (4.1 and 0.2 GB; 64x64: 12.1 and 0.5 GB) or
the folders in them; or TensorFlow Datasets' `downsampled_imagenet` where it is prepared. Splits:
1,281,149 training and 49,999 validation images, checked before anything is decoded. There is no
test split: papers score the validation images, so they are `test` here, and `validation` is the
last 5,000 training images in the order of their names. No crop, no flips.

Memory: 0.4 GB of names while they are decoded; the pixels, 3.9 GB at 32x32 and 15.7 GB at 64x64, are on
the disk (`lcma_tf.data.cache`). Time: at 64x64 about four minutes of one core, once, and what the disk
takes.
"""

import contextlib
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lcma_tf.data.cache import MEMORY, Filling, Store
from lcma_tf.data.cache.identity import identity_of_folder
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.resize import resized
from lcma_tf.data.sources import local_files
from lcma_tf.data.sources.imagenet_versions import (
    PNG_STEMS,
    SIZES,
    check_counts,
    describe,
    find_pngs,
    load_prepared,
)
from lcma_tf.data.splits import with_all_splits
from lcma_tf.image_files import read_image_file

_PAGE = "once at http://image-net.org/small/download.php, which no longer has them; torrents do"

# A file of a tar: name, where its bytes begin, how many they are. Of a folder: its name, 0, -1.
_Entry = tuple[str, int, int]


def load_downsampled_imagenet(
    argument: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    store: Store = MEMORY,
) -> ImageData:
    """Reads `downsampled_imagenet/32x32` or `/64x64`.

    Args:
        argument: `/32x32` or `/64x64`.
        data_dir: folder of the two tar files, of what is in them, or TFDS' data folder.
        image_size: height and width in pixels to which each image is resized.
        store: where decoded images are kept.

    Raises:
        DataError: another size; a tar is missing or torn; the counts are not those of this set (in
            particular if they are the newer set's); nothing is there and TFDS has not prepared it.
    """
    name = "downsampled_imagenet" + argument
    size = argument.removeprefix("/")
    if size not in SIZES:
        sizes = " or ".join(f"downsampled_imagenet/{known}" for known in SIZES)
        raise DataError(f"{name}: must be {sizes}")
    archives = {split: f"{stem.format(size=size)}.tar" for split, stem in PNG_STEMS.items()}
    advice = local_files.advice(" and ".join(archives.values()), _PAGE, data_dir)
    found = find_pngs(data_dir, size)
    if not found:
        prepared = load_prepared(name, data_dir, describe(name), advice, store)
        return resized(prepared, image_size, store)
    for split, archive in archives.items():
        if split not in found:
            raise DataError(f"{name}: must have both tars; there is no {archive}; {advice}")
    side = int(size.partition("x")[0])

    def fill(filling: Filling) -> None:
        entries = {}
        for split, path in found.items():
            with local_files.reading(name, path):
                entries[split] = _list_folder(path) if path.is_dir() else _list_tar(path)
        check_counts(name, {split: len(listed) for split, listed in entries.items()})
        for split, path in found.items():
            _read(name, path, entries.pop(split), side, filling, split)

    asked = {"files": {split: str(path.absolute()) for split, path in found.items()}}
    source = {split: identity_of_folder(path) for split, path in found.items()}
    arrays = store.arrays(name, asked, source, fill).arrays
    data = with_all_splits(name, arrays, f"{describe(name)} From PNG files.")
    return resized(data, image_size, store)


def _list_folder(path: Path) -> list[_Entry]:
    return sorted((file, 0, -1) for file in os.listdir(path) if _is_picture(file))


def _list_tar(path: Path) -> list[_Entry]:
    entries = []
    with tarfile.open(path, "r:") as archive:
        while (member := archive.next()) is not None:
            if member.isfile() and _is_picture(os.path.basename(member.name)):
                entries.append((member.name, member.offset_data, member.size))
            # tarfile keeps every header: a gigabyte by the end.
            archive.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
    return sorted(entries)


def _is_picture(file: str) -> bool:
    return file.endswith(".png") and not file.startswith(".")  # "._": what macOS adds to a tar.


def _read(
    name: str, path: Path, entries: list[_Entry], side: int, filling: Filling, split: str
) -> None:
    """Decodes all pictures into the array `split`, as they are read."""
    with filling.array(split, len(entries)) as sink, _opened(path) as read:
        for entry in entries[sink.filled :]:
            with local_files.reading(name, f"{path}/{entry[0]}"):
                picture = local_files.decode_picture(read(entry), "PNG", side, side)
            sink.append(picture[None])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Callable[[_Entry], bytes]]:
    """A function from a picture's entry to its bytes, for a folder or a tar."""
    if path.is_dir():
        yield lambda entry: read_image_file(path / entry[0])
        return
    with open(path, "rb") as archive:

        def read(entry: _Entry) -> bytes:
            _, start, length = entry
            archive.seek(start)
            return archive.read(length)

        yield read
