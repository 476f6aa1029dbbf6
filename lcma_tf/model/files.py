"""Flows in `.keras` files: found in the folder of a run, read whole or refused by name."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

from lcma_tf.errors import UserError
from lcma_tf.files.paths import expanded, path_text
from lcma_tf.model.flow_model import FlowModel

__all__ = ["MODEL_FILE", "ModelFileError", "load", "load_weights"]

MODEL_FILE = "model.keras"


class ModelFileError(UserError, ValueError):
    """A `.keras` file that is there, but damaged or of something else; the message names it."""


def load(workdir: str | os.PathLike[str]) -> FlowModel:
    """Loads the flow that a finished run left in `workdir`; a `.keras` file works too.

    Args:
        workdir: `~` is expanded.

    Raises:
        FileNotFoundError: there is none, or one that was cut short.
        ModelFileError: it is damaged, or holds no flow.
        PathError: `workdir` is no path.
    """
    path = expanded(named := path_text("workdir", workdir))
    if os.path.isdir(path) or not path.endswith(".keras"):
        path = os.path.join(path, MODEL_FILE)
    if not zipfile.is_zipfile(path):
        raise FileNotFoundError(
            f"`workdir` must hold a finished run, with a whole {MODEL_FILE} in it; got {named!r}."
        )
    with _reading(path):
        model: Any = keras.models.load_model(path, compile=False)
        if not isinstance(model, FlowModel):
            raise ModelFileError(_told(path, f"it holds a {type(model).__name__}"))
    return model


def load_weights(model: FlowModel, path: str | os.PathLike[str]) -> None:
    """Sets the weights of `model` to those in a `.keras` file of such a flow.

    Raises:
        ModelFileError: it is damaged, or of another flow.
    """
    with _reading(os.fspath(path)):
        model.load_weights(path)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Reads a `.keras` file by its checksums first: Keras does not get to the end of every part."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ModelFileError(_told(path, f"its part {damaged} is damaged"))
        yield
    except (ModelFileError, MemoryError):
        raise
    # zipfile, zlib, json, h5py and Keras have no error in common.
    except Exception as error:
        raise ModelFileError(_told(path, f"{type(error).__name__}: {error}")) from error


def _told(path: str, what: str) -> str:
    return f"The model {path!r} must be a whole file of a trained flow; {what}."
