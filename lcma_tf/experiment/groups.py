"""Which images of a split are related, as a flag says it."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Callable

import numpy as np

from lcma_tf.config import ConfigError, require
from lcma_tf.data import OneSplit
from lcma_tf.files.npz import read_array
from lcma_tf.files.paths import expanded

__all__ = ["groups_of"]

_FOLDERS, _NPZ = "folders", "npz:"
_RULE = f"{_FOLDERS}, or {_NPZ}FILE:ARRAY with a number or name for each image"


def groups_of(wanted: str) -> Callable[[OneSplit], np.ndarray]:
    """What makes of a split what `lcma_tf.calibrate` takes as `groups`, `[N]`, once it is read.

    Args:
        wanted: `folders`: images that lie in one folder are related; or `npz:FILE:ARRAY`, an array that
            says it of every image.

    Raises:
        ConfigError: neither, or no such array; later, of images that are no files.
    """
    if wanted == _FOLDERS:
        return _folders_of
    path, _, array = wanted.removeprefix(_NPZ).rpartition(":")
    require(wanted.startswith(_NPZ) and bool(path), "groups", _RULE, wanted)
    try:
        with zipfile.ZipFile(expanded(path)) as archive:
            found = read_array(archive, f"{array}.npy")
    # NumPy, zipfile and zlib have no error in common.
    except Exception as error:
        raise ConfigError(f"`groups` must be {_RULE}; got {wanted!r}: {error}") from error
    return lambda images: found


def _folders_of(images: OneSplit) -> np.ndarray:
    names, rule = images.file_names, "an array where images are no files of a folder"
    require(names is not None, "groups", rule, _FOLDERS)
    return np.array([posixpath.dirname(name) for name in names or ()])
