"""What training needs beyond Keras' own callbacks: speed on the bar, an exact end, a safe resume."""

from __future__ import annotations

import csv
import os
import pathlib
import time
from typing import Any

import keras
import numpy as np

__all__ = [
    "Resume",
    "StopAtStep",
    "TrainingProgress",
    "optimizer_step",
    "read_history",
]


class TrainingProgress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, with bits/dim and images/s and nothing else.

    Args:
        batch_size: images a step, over all replicas.
        num_replicas: over all workers; where there are several, images/s of each are shown too.
    """

    def __init__(self, batch_size: int, num_replicas: int = 1):
        super().__init__()
        self._batch_size = batch_size
        self._num_replicas = num_replicas
        self._started = 0.0
        self._first_batch = 0

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._started = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if (
            not self._started
        ):  # The first batch of an epoch may trace the step: no measure of speed.
            self._started, self._first_batch = now, batch
        shown = {"bits/dim": float(logs["bits_per_dim"])}
        if batch > self._first_batch:
            seconds = now - self._started
            speed = self._batch_size * (batch - self._first_batch) / seconds
            shown["images/s"] = speed
            if self._num_replicas > 1:
                shown["images/s per replica"] = speed / self._num_replicas
        super().on_train_batch_end(batch, shown)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        shown = {"bits/dim": logs["bits_per_dim"]}
        if "val_bits_per_dim" in logs:
            shown["validation bits/dim"] = logs["val_bits_per_dim"]
        super().on_epoch_end(epoch, shown)


class StopAtStep(keras.callbacks.Callback):
    """Ends training after `num_steps` steps, though the last epoch may not be full.

    Args:
        num_steps: optimizer steps in all, over every run that is resumed.
    """

    def __init__(self, num_steps: int):
        super().__init__()
        self._num_steps = num_steps

    def on_train_batch_end(self, batch, logs=None):
        if optimizer_step(self.model) >= self._num_steps:
            self.model.stop_training = True


class Resume(keras.callbacks.BackupAndRestore):
    """`BackupAndRestore` that knows its place by the optimizer's step, and survives a torn file.

    Keras writes weights and epoch number in two files one after the other, and a kill can fall between
    or inside them. Here the weights, which hold the optimizer and its step, decide alone; a torn file
    gives way to the one before. Since the position in the data follows from the step, `restore` is
    called before `fit`.

    Args:
        backup_dir: where the last two states are.
    """

    def __init__(self, backup_dir: str):
        super().__init__(backup_dir, double_checkpoint=True, delete_checkpoint=False)

    def restore(self, model: keras.Model) -> int:
        """Loads the last whole state into `model`; returns the number of steps it has done, or 0."""
        self.set_model(model)
        for name in ("training_metadata.json", "training_metadata.json.bkp"):
            # Keras' epoch number: not needed here, and not readable if a kill has torn it.
            pathlib.Path(self.backup_dir, name).unlink(missing_ok=True)
        try:
            super().on_train_begin()
        except OSError:  # Torn, and there is none before: it was the first.
            return 0
        model._initial_epoch = 0  # `fit` is told where to begin.
        return optimizer_step(model)

    def on_train_begin(self, logs=None):
        pass  # Done by `restore`.


def optimizer_step(model: Any) -> int:
    """How many steps a compiled model has been trained for."""
    # By way of NumPy: with several workers the variable is no number to `int`.
    return int(np.asarray(model.optimizer.iterations))


def read_history(path: str | os.PathLike[str], num_epochs: int | None = None) -> list[dict]:
    """Reads what `CSVLogger` wrote, of the first `num_epochs` epochs; [] if there is no file.

    A run that was killed may have logged an epoch that it has to do again: a later line for the same
    epoch wins, and a torn last line is left out.
    """
    if not os.path.exists(path):
        return []
    by_epoch = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            try:
                values = {name: float(value) for name, value in row.items()}
            except (TypeError, ValueError):
                continue
            if num_epochs is None or values["epoch"] < num_epochs:
                by_epoch[values["epoch"]] = values
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]
