"""Images from one `.npz` file with the arrays `train`, `validation` and `test`.

What is only scored needs no more than its own array. Of a gibibyte of pixels and more no array is held
in memory, where there is a cache (`lcma_tf.data.cache`).

Nothing in the file is unpickled, so a file from a stranger cannot run code.
"""

import contextlib
import os
import zipfile
from collections.abc import Iterator

import numpy as np

from lcma_tf.data.cache import MEMORY, Filling, Store
from lcma_tf.data.cache.identity import identity_of_folder
from lcma_tf.data.image_data import SPLITS, DataError, ImageData
from lcma_tf.data.one_split import WHOLE, OneSplit
from lcma_tf.data.splits import with_all_splits
from lcma_tf.files.npz import read_array
from lcma_tf.files.paths import printable

_MAGIC = np.lib.format.MAGIC_PREFIX  # Of one array by itself.
_LARGE = 1 << 30  # Bytes of arrays from which on they go through the store.
_BLOCK = 1 << 24


def load_npz(
    path: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
    store: Store = MEMORY,
) -> ImageData:
    """Reads uint8 `[N, H, W, C]` splits; arrays of other names are left alone.

    Args:
        path: the file; `~` is expanded.
        data_dir: not used, the path says it all.
        image_size: if given, the images must be of this height and width already.
        validation_share: of `train`, for an archive without `validation` or `test`
            (`with_all_splits`); None = it must have all three.
        store: where the images of a large file are kept.

    Raises:
        DataError: no such file, not an archive, a split missing, torn or pickled, or arrays that
            `ImageData` refuses.
    """
    del data_dir
    name = printable(f"npz:{path}")
    with _opened(name, path) as (archive, found):
        missing = [split for split in SPLITS if split not in found]
        if missing and (validation_share is None or "train" in missing):
            cure = (
                ""
                if "train" in missing
                else "; `validation_share` cuts what is missing out of train"
            )
            raise _missing(name, missing, found, cure)
        members = {split: found[split] for split in SPLITS if split in found}
        arrays = _read_splits(archive, name, members, store)
    data = with_all_splits(name, arrays, validation_share=validation_share)
    _check_size(name, data.image_shape, image_size)
    return data


def load_npz_to_score(
    path: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    validation_share: float | None = None,
    store: Store = MEMORY,
    *,
    split: str | None = None,
    usual_split: str = "test",
) -> OneSplit:
    """One split (None = `usual_split`) of the same file; no other array is read, nor need be there.

    An archive without `validation` or `test` whose splits `validation_share` makes is read whole. Where
    no split is asked for, one array alone is taken, whatever its name.

    Raises:
        DataError: as `load_npz`.
    """
    name, arrays = printable(f"npz:{path}"), None
    with _opened(name, path) as (archive, found):
        is_cut = validation_share is not None and not set(SPLITS) <= found.keys()
        if split is None and len(found) == 1 and not is_cut:
            ((own, member),) = found.items()
            split = own if own in SPLITS else WHOLE
            found = {split: member}
        split = split or usual_split
        if not is_cut:
            if split not in found:
                raise _missing(name, [split], found)
            arrays = _read_splits(archive, name, {split: found[split]}, store)
    if arrays is None:
        return OneSplit.of(load_npz(path, data_dir, image_size, validation_share, store), split)
    data = OneSplit(name, split, arrays[split])
    _check_size(name, data.image_shape, image_size)
    return data


@contextlib.contextmanager
def _opened(name: str, path: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, str]]]:
    """An archive, and the member of each array in it."""
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        place = printable(os.path.abspath(path))
        raise DataError(f"{name}: must name an existing .npz file; there is no file {place!r}")
    # NumPy, zipfile and zlib have no error in common, here and below.
    try:
        with open(path, "rb") as file:
            is_single = file.read(len(_MAGIC)) == _MAGIC
        archive = None if is_single else zipfile.ZipFile(path)
    except Exception as error:
        raise DataError(
            f"{name}: must be a whole .npz archive; opening it failed: {error}"
        ) from error
    if archive is None:
        raise DataError(f"{name}: must be an .npz archive of named arrays; got a single array")
    with archive:
        yield archive, {member.removesuffix(".npy"): member for member in archive.namelist()}


def _missing(name: str, missing: list[str], found: dict[str, str], cure: str = "") -> DataError:
    return DataError(
        f"{name}: must hold the arrays {', '.join(SPLITS)}; missing {', '.join(missing)}, "
        f"found {', '.join(found) or 'none'}{cure}"
    )


def _check_size(name: str, image_shape: tuple[int, ...], image_size: int | None) -> None:
    if image_size is not None and image_shape[:2] != (image_size, image_size):
        raise DataError(
            f"{name}: images must be of `image_size` {image_size} already, as .npz pixels are "
            f"taken as they are; got {list(image_shape)}"
        )


def _read_splits(
    archive: zipfile.ZipFile, name: str, members: dict[str, str], store: Store
) -> dict[str, np.ndarray]:
    """The arrays of some splits, by the members that hold them."""
    if sum(archive.getinfo(member).file_size for member in members.values()) < _LARGE:
        return {split: _read_split(archive, name, split, m) for split, m in members.items()}

    def fill(filling: Filling) -> None:
        for split, member in members.items():
            with filling.array(split, None) as sink:
                if not sink.is_whole:
                    for images in _blocks(archive, name, split, member, sink.filled):
                        sink.append(images)

    path = os.path.abspath(str(archive.filename))
    asked = {"file": path, "arrays": sorted(members)}
    return store.arrays(name, asked, identity_of_folder(path), fill).arrays


def _blocks(
    archive: zipfile.ZipFile, name: str, split: str, member: str, num_skipped: int
) -> Iterator[np.ndarray]:
    """The images of a split behind the first `num_skipped`, block by block."""
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            is_first = version == (1, 0)
            formats = np.lib.format
            header = formats.read_array_header_1_0 if is_first else formats.read_array_header_2_0
            shape, is_fortran, dtype = header(file)
            is_plain = dtype == np.uint8 and len(shape) == 4 and not is_fortran
            size = int(np.prod(shape[1:]))
            if is_plain and size:
                file.seek(num_skipped * size, os.SEEK_CUR)
                rows = max(1, _BLOCK // size)
                for start in range(num_skipped, shape[0], rows):
                    count = min(rows, shape[0] - start)
                    pixels = np.frombuffer(file.read(count * size), np.uint8)
                    yield pixels.reshape(count, *shape[1:])
                if file.read(1):  # Here zip compares its checksum, too.
                    raise ValueError(f"{member} is longer than its array")
    except Exception as error:
        raise DataError(
            f"{name}: `{split}` must be readable; reading it failed: {error}"
        ) from error
    if not (is_plain and size):  # Of another kind, most of which are refused.
        yield _read_split(archive, name, split, member)[num_skipped:]


def _read_split(archive: zipfile.ZipFile, name: str, split: str, member: str) -> np.ndarray:
    try:
        images = read_array(archive, member)
    except Exception as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{name}: `{split}` must be a plain uint8 array; got pickled Python objects, "
                "which are not loaded"
            ) from error
        raise DataError(
            f"{name}: `{split}` must be readable; reading it failed: {error}"
        ) from error
    # Floats are mostly pixels on another scale; `ImageData` has them from recipes of its own only.
    if images.dtype != np.uint8:
        raise DataError(
            f"{name}: `{split}` must be a uint8 array of shape [N, H, W, C]; got {images.dtype} "
            f"{list(images.shape)}"
        )
    return images
