"""`history.csv`: a line an epoch, on the disk when the epoch ends, read whatever a kill left of it."""

from __future__ import annotations

import csv
import os

import keras

from lcma_tf.files.saving import refusals_named

__all__ = ["HistoryLogger", "read_history"]


class HistoryLogger(keras.callbacks.CSVLogger):
    """`CSVLogger` whose lines are on the disk when an epoch ends.

    Args:
        path: the CSV file; lines are added to those that it has.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(os.fspath(path), append=True)

    def on_train_begin(self, logs=None):
        with refusals_named(self.filename):
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        with refusals_named(self.filename):
            super().on_epoch_end(epoch, logs)
            os.fsync(self.csv_file.fileno())  # pyright: ignore[reportOptionalMemberAccess]


def read_history(path: str | os.PathLike[str]) -> list[dict]:
    """Reads what `CSVLogger` wrote, by epoch; [] if there is no file.

    A run that was killed may have logged an epoch that it has to do again: a later line for the same
    epoch wins, and what is no line of an epoch is left out.
    """
    if not os.path.exists(path):
        return []
    by_epoch = {}
    with open(path, newline="", errors="replace") as file:
        for row in csv.DictReader(file):
            try:
                values = {name: float(value) for name, value in row.items()}
                by_epoch[values["epoch"]] = values
            except (KeyError, TypeError, ValueError):
                continue
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]
