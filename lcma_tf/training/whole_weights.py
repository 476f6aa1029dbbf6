"""Weights in Keras' format that tell by themselves whether they are whole.

A file begins with 512 bytes that hold the checksum of the rest, Keras' own HDF5. HDF5 looks for its
beginning at byte 0, 512, 1024, ...: Keras and every other reader open such a file as it is. Whatever is
missing, zeroed or changed shows in the checksum, before HDF5 sees a byte.

Both ways lead through memory. HDF5 on a full disk fails again where it cleans up, which ends the whole
process by a signal (h5py 3.14); and an interrupted `save_weights` leaves a file that can be read.
"""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import warnings

import keras

from lcma_tf.errors import UserError
from lcma_tf.files.saving import write_whole

__all__ = ["DamagedWeightsError", "load_weights", "read_weights", "save_weights"]

_HEAD_SIZE = 512
_HEAD = "lcma_tf weights, version 1, SHA-256 of what follows byte 512: {}\n"
_OURS = _HEAD.partition("{")[0].encode()
_HDF5 = b"\x89HDF\r\n\x1a\n"


class DamagedWeightsError(UserError, ValueError):
    """A file of weights is not what was written, or not of this model."""


class _InMemory(io.BytesIO):
    """A file for Keras, which tells the format by the name.

    Nobody closes it: where Keras is interrupted, HDF5 uses it once more when it is collected.
    """

    def __str__(self):
        return "memory.weights.h5"


def save_weights(
    model: keras.Model,
    path: str | os.PathLike[str],
    before: str | os.PathLike[str] | None = None,
) -> None:
    """Writes the weights of `model`, and of its optimizer if it is compiled, to `path`.

    Args:
        before: where the file that is at `path` now goes.

    Raises:
        SaveError: the file system refuses; `path` is as it was.
    """
    file = _InMemory()
    model.save_weights(file)  # pyright: ignore[reportArgumentType]
    content = file.getbuffer()
    write_whole(path, _head(content), content, before=before)


def read_weights(path: str | os.PathLike[str]) -> bytes:
    """A file of `save_weights`, or of Keras itself, which has no checksum.

    Raises:
        DamagedWeightsError: it is not as it was written.
        OSError: it cannot be read.
    """
    content = pathlib.Path(path).read_bytes()
    if content.startswith(_OURS):
        if content[:_HEAD_SIZE] != _head(memoryview(content)[_HEAD_SIZE:]):
            raise DamagedWeightsError("its checksum is another")
    elif not content.startswith(_HDF5):
        raise DamagedWeightsError("it does not begin as weights do")
    return content


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Gives `model`, and its optimizer if it is compiled, the weights in `path`.

    Raises:
        DamagedWeightsError: it is not as it was written, or of other variables; `model` may have part.
        OSError: it cannot be read.
    """
    file = _InMemory(read_weights(path))
    try:
        with warnings.catch_warnings():
            # Keras says no more than this of an optimizer that it leaves as it is.
            warnings.filterwarnings("error", "Skipping variable loading")
            model.load_weights(file)
    except MemoryError:
        raise
    except (
        Exception
    ) as error:  # HDF5 on damaged bytes: OSError, ValueError, RuntimeError, KeyError.
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DamagedWeightsError(f"it does not hold what the model has ({what})") from error


def _head(content: memoryview) -> bytes:
    head = _HEAD.format(hashlib.sha256(content).hexdigest())
    return head.encode().ljust(_HEAD_SIZE, b"\0")
