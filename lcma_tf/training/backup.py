"""The state of a training run on disk, such that a run can be stopped at any moment and go on."""

from __future__ import annotations

import errno
import os
import pathlib
from typing import Any

import keras
import numpy as np

from lcma_tf.errors import UserError
from lcma_tf.say import say
from lcma_tf.training.whole_weights import DamagedWeightsError, load_weights, save_weights

__all__ = ["BackupError", "Resume", "optimizer_step"]


_MISSING = "it is missing"


class BackupError(UserError, RuntimeError):
    """A run cannot go on from what it has saved; everything is left as it was."""


class Resume(keras.callbacks.Callback):
    """Keras' `BackupAndRestore`, with a backup that counts only when it is whole.

    Keras writes over its only file, then an epoch number into a second one, and takes what it can read
    for the state. Here a state is one file (weights, optimizer and its step, a checksum over all), which
    gets its name when it is on the disk; the one before is kept by rename. A damaged file gives way to
    the one before, and only where there has never been any does a run begin anew. Since the position in
    the data follows from the step, `restore` is called before `fit`.

    Args:
        backup_dir: where the last two states are.
    """

    def __init__(self, backup_dir: str | os.PathLike[str]):
        super().__init__()
        self._latest = pathlib.Path(backup_dir, "latest.weights.h5")
        self._before = self._latest.with_name(f"{self._latest.name}.bkp")

    def restore(self, model: keras.Model) -> int:
        """Loads the last whole state into `model`; returns the number of steps it has done.

        Returns 0, with `model` as it was, if no state was ever saved.

        Raises:
            BackupError: states were saved and none can be loaded; `model` may have part of one.
        """
        faults = {}
        for path in (self._latest, self._before):
            try:
                load_weights(model, path)
                step = optimizer_step(model)
                if step < 1:
                    raise DamagedWeightsError(f"it is of step {step}")
            except FileNotFoundError:
                faults[path] = _MISSING
            except DamagedWeightsError as error:
                faults[path] = str(error)
            except OSError as error:
                if error.errno != errno.EIO:  # No damage: a permission, a server out of reach.
                    raise BackupError(
                        f"The backup {os.fspath(path)!r} must be readable; got {error.strerror}. "
                        "Nothing was changed: make it readable and run the same again."
                    ) from error
                faults[path] = f"it cannot be read: {error.strerror}"
            else:
                if path == self._before:
                    self._give_way(faults[self._latest], step)
                return step
        if set(faults.values()) == {_MISSING}:
            return 0
        raise BackupError(
            "A run goes on from a whole backup; got "
            f"{'; '.join(f'{os.fspath(path)!r}: {fault}' for path, fault in faults.items())}. "
            "Nothing was changed: put a copy of one of them back, or remove "
            f"{os.fspath(self._latest.parent.parent)!r} to begin this phase anew."
        )

    def _give_way(self, fault: str, step: int) -> None:
        say(
            f"warning: the backup {os.fspath(self._latest)!r} is not used, {fault}; "
            f"the run goes on from the one before, of step {step}."
        )
        # By rename, which needs no room; and the next backup must not push out the only whole one.
        os.replace(self._before, self._latest)

    def on_epoch_end(self, epoch, logs=None):
        self._latest.parent.mkdir(parents=True, exist_ok=True)
        save_weights(self.model, self._latest, self._before)  # pyright: ignore[reportArgumentType]


def optimizer_step(model: Any) -> int:
    """How many steps a compiled model has been trained for."""
    # By way of NumPy: with several workers the variable is no number to `int`.
    return int(np.asarray(model.optimizer.iterations))
