"""`history.csv`: a line an epoch, on the disk when the epoch ends, read whatever a kill left of it.

A line says by itself after how many steps it was written (`step`): how many make an epoch may change
between two calls of one run. And, where the split is decided in the midst of a training, on which side
of that (`factorized`).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from lcma_tf.files.saving import refusals_named, written_whole
from lcma_tf.training.backup import optimizer_step

__all__ = [
    "FACTORIZED",
    "STEP",
    "HistoryLogger",
    "number_steps",
    "read_curves",
    "read_history",
    "write_history",
]

STEP = "step"  # The column with the optimizer steps that were done.
FACTORIZED = "factorized"  # 0 before the split, 1 after it; in runs that have both.


class HistoryLogger(keras.callbacks.CSVLogger):
    """`CSVLogger` whose lines are on the disk when an epoch ends, and tell of the step (`STEP`).

    Args:
        path: the CSV file; lines are added to those that it has.
        marks: column -> what every line has in it.
    """

    def __init__(self, path: str | os.PathLike[str], marks: Mapping[str, float] | None = None):
        super().__init__(os.fspath(path), append=True)
        self._marks = dict(marks or {})

    def on_train_begin(self, logs=None):
        with refusals_named(self.filename):
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        with refusals_named(self.filename):
            known = {**self._marks, STEP: optimizer_step(self.model)}
            super().on_epoch_end(epoch, {**(logs or {}), **known})
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


def write_history(path: str | os.PathLike[str], rows: Sequence[dict], names: Sequence[str]) -> None:
    """Writes `rows` whole or not at all, in the order of `CSVLogger`, which goes on after them.

    Args:
        names: the columns, `epoch` among them; what a row has not is a NaN.
    """
    columns = ["epoch", *sorted({*names} - {"epoch"})]
    with written_whole(path) as temporary, open(temporary, "w", newline="") as file:
        if rows:
            writer = csv.DictWriter(file, columns, restval="nan")
            writer.writeheader()
            writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)


def number_steps(path: str | os.PathLike[str], steps_per_epoch: int, num_steps: int) -> None:
    """Gives the lines of an earlier version, which tell of no step, theirs.

    Args:
        steps_per_epoch, num_steps: of the run that wrote them.
    """
    rows = read_history(path)
    if not rows or STEP in rows[0]:
        return
    steps_per_epoch = min(steps_per_epoch, num_steps)
    for row in rows:
        row[STEP] = min(int(row["epoch"] + 1) * steps_per_epoch, num_steps)
    write_history(path, rows, [*rows[0]])


def read_curves(
    path: str | os.PathLike[str], steps_per_epoch: int, num_steps: int
) -> dict[str, np.ndarray]:
    """The columns of a history by name, one entry an epoch, `step` among them; {} if there is none.

    Args:
        steps_per_epoch, num_steps: of the run, for a history of an earlier version.
    """
    rows = read_history(path)
    if not rows:
        return {}
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    per_epoch = min(steps_per_epoch, num_steps)
    return {STEP: np.minimum((columns["epoch"] + 1) * per_epoch, num_steps), **columns}
