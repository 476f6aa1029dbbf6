"""What a phase of training has on disk beside its backup, and whether the two belong together."""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lcma_tf.files.saving import written_whole
from lcma_tf.training.backup import BackupError
from lcma_tf.training.history import read_history
from lcma_tf.training.probe import COLUMNS as PROBE_COLUMNS
from lcma_tf.training.whole_weights import DamagedWeightsError, load_weights, read_weights

__all__ = ["forget_epochs_from", "load_best"]


def forget_epochs_from(epoch: int, history: pathlib.Path, best: pathlib.Path) -> float | None:
    """Cuts the history to the epochs that are done; returns their best validation bits/dim.

    Raises:
        BackupError: history or best weights are not those of a run that has done so many epochs.
    """
    rows = read_history(history)
    if not epoch and len(rows) > 1:  # The first epoch may be told of before its backup is there.
        raise BackupError(
            f"A run that has done {len(rows)} epochs goes on from a backup; got a history "
            f"{os.fspath(history)!r} of so many and no backup beside it. Put the backup back, or remove "
            f"{os.fspath(history.parent)!r} to begin this phase anew."
        )
    rows = rows[:epoch]
    if [row["epoch"] for row in rows] != list(range(epoch)):
        raise BackupError(
            f"The history {os.fspath(history)!r} must tell of the {epoch} epochs that the backup beside "
            f"it has done; got {len(rows)}. Put it back, or remove {os.fspath(history.parent)!r} to "
            "begin this phase anew."
        )
    if rows:
        _checked_best(best, read_weights)
    if history.exists():
        with written_whole(history) as temporary, open(temporary, "w", newline="") as file:
            if rows:
                # In the order of `CSVLogger`, which appends to it; a run of before had fewer columns.
                names = sorted({*rows[0], *PROBE_COLUMNS} - {"epoch"})
                writer = csv.DictWriter(file, ["epoch", *names], restval="nan")
                writer.writeheader()
                writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)
    return float(np.min([row["val_bits_per_dim"] for row in rows])) if rows else None


def load_best(model: keras.Model, best: pathlib.Path) -> None:
    """Gives `model` the weights of the best epoch.

    Raises:
        BackupError: they are missing or damaged.
    """
    _checked_best(best, lambda path: load_weights(model, path))


def _checked_best(best: pathlib.Path, read: Callable[[pathlib.Path], Any]) -> None:
    try:
        read(best)
    except (FileNotFoundError, DamagedWeightsError) as error:
        raise BackupError(
            f"The weights of the best epoch so far, {os.fspath(best)!r}, must be whole; got "
            f"{'no such file' if isinstance(error, FileNotFoundError) else error}. Put them back, or "
            f"remove {os.fspath(best.parent)!r} to begin this phase anew."
        ) from error
