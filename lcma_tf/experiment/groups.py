"""Which images of a split are related, as a flag says it."""

from __future__ import annotations

import posixpath
import zipfile

import numpy as np

from lcma_tf.config import ConfigError, require
from lcma_tf.data import OneSplit
from lcma_tf.files.npz import read_array
from lcma_tf.files.paths import expanded

__all__ = ["groups_of"]

_FOLDERS, _NPZ = "folders", "npz:"
_RULE = f"{_FOLDERS}, or {_NPZ}FILE:ARRAY with a number or name for each image"


def groups_of(wanted: str, images: OneSplit) -> np.ndarray:
    """What `lcma_tf.calibrate` takes as `groups`: `[N]`.

    Args:
        wanted: `folders`: images that lie in one folder are related; or `npz:FILE:ARRAY`, an array that
            says it of every image.
        images: of which split.

    Raises:
        ConfigError: neither, no such array, or images that are no files.
    """
    if wanted == _FOLDERS:
        names = images.file_names
        require(
            names is not None, "groups", "an array where images are no files of a folder", wanted
        )
        return np.array([posixpath.dirname(name) for name in names or ()])
    path, _, array = wanted.removeprefix(_NPZ).rpartition(":")
    require(wanted.startswith(_NPZ) and bool(path), "groups", _RULE, wanted)
    try:
        with zipfile.ZipFile(expanded(path)) as archive:
            return read_array(archive, f"{array}.npy")
    # NumPy, zipfile and zlib have no error in common.
    except Exception as error:
        raise ConfigError(f"`groups` must be {_RULE}; got {wanted!r}: {error}") from error
