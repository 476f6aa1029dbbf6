"""The original archives of a data set on this machine: where they are looked for and read.

They are read in place of a download: servers of data sets vanish, ask for a login or hit a quota.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lcma_tf.data.image_data import DataError
from lcma_tf.extras import require_extra
from lcma_tf.image_files import decode_image


def require_tfds() -> None:
    """Raises `MissingExtraError` unless TensorFlow Datasets can be imported."""
    for module in ("tensorflow_datasets", "importlib_resources"):  # The first imports the second.
        require_extra(module, "data", "read a named data set")


def expanded(data_dir: str | None) -> str | None:
    """`data_dir` with `~` expanded; None, TFDS' own default, stays None."""
    return None if data_dir is None else os.path.expanduser(data_dir)


def data_root(data_dir: str | None) -> str:
    """The folder that `data_dir` names; TFDS' own default (`TFDS_DATA_DIR`) for None."""
    if data_dir is not None:
        return os.path.expanduser(data_dir)
    require_tfds()
    import tensorflow_datasets as tfds

    return os.path.expanduser(tfds.core.constants.DATA_DIR)


def folders(data_dir: str | None) -> tuple[Path, Path]:
    """Where original files may lie: `data_dir`, and in it the place that TFDS has for them."""
    root = Path(data_root(data_dir))
    return root, root / "downloads" / "manual"


def find(data_dir: str | None, *names: str) -> Path | None:
    """The first of `names`, files or folders relative to `folders(data_dir)`, that exists."""
    candidates = (folder / name for folder in folders(data_dir) for name in names)
    return next((path for path in candidates if path.exists()), None)


def advice(files: str, page: str, data_dir: str | None) -> str:
    """How to supply a set by hand: the end of an error message.

    Args:
        files: names of the archives, in words.
        page: who gives them out.
        data_dir: as the user gave it.
    """
    return (
        f"fetch {files} ({page}) and put them, as they are or unpacked, into "
        f"{folders(data_dir)[0]}; another folder is named by `data_dir`"
    )


@contextlib.contextmanager
def reading(name: str, path: Path | str) -> Iterator[None]:
    """Turns whatever a torn or foreign file makes a reader raise into one `DataError`."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    # gzip, tarfile, zipfile, pickle, NumPy and Pillow have no error in common.
    except Exception as error:
        raise DataError(
            f"{name}: {path} must be whole and of its original format; reading it failed "
            f"({type(error).__name__}: {error})"
        ) from error


def decode_picture(data: bytes, kind: str, width: int, height: int) -> np.ndarray:
    """A `PNG` or `JPEG` file as uint8 `[height, width, 3]`; to be called within `reading`.

    Raises:
        ValueError: another size, a file of another kind or a torn one.
    """
    picture = decode_image(data, [kind], orientation=False)
    if picture.size != (width, height):
        raise ValueError(f"picture must be {width}x{height}; got {picture.width}x{picture.height}")
    return np.asarray(picture.convert("RGB"))
