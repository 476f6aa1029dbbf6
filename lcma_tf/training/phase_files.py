"""What a phase of training has on disk beside its backup, and whether the two belong together."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from lcma_tf.files.saving import write_json
from lcma_tf.training.backup import BackupError
from lcma_tf.training.history import STEP, number_steps, read_history, write_history
from lcma_tf.training.probe import COLUMNS as PROBE_COLUMNS
from lcma_tf.training.whole_weights import DamagedWeightsError, load_weights, read_weights

__all__ = ["PhaseFiles"]


@dataclasses.dataclass(frozen=True)
class PhaseFiles:
    """The files of one phase.

    Args:
        directory: for backups, TensorBoard logs, `history.csv` (a line an epoch: step, loss, bits/dim,
            their parts, the same of the validation images, and `lcma_tf.training.probe.Probe`) and the
            best weights.
        result: the `.keras` file that the phase ends in.
    """

    directory: pathlib.Path
    result: pathlib.Path

    @property
    def history(self) -> pathlib.Path:
        return self.directory / "history.csv"

    @property
    def best(self) -> pathlib.Path:
        return self.directory / "best.weights.h5"

    @property
    def logs(self) -> pathlib.Path:
        return self.directory / "tensorboard"

    @property
    def backup(self) -> pathlib.Path:
        return self.directory / "backup"

    @property
    def _finished(self) -> pathlib.Path:
        return self.directory / "finished.json"

    def steps_of_result(self, default: int) -> int:
        """After how many steps `result` was made; 0 if it is not there.

        Args:
            default: the steps of the run, where an earlier version made it, which did not note them.
        """
        if not self.result.exists():
            return 0
        if not self._finished.exists():
            return default
        return int(json.loads(self._finished.read_text())["steps"])

    def is_done(self, num_steps: int) -> bool:
        """Whether `result` was made after so many steps."""
        return self.steps_of_result(num_steps) == num_steps

    def note_result(self, steps: int) -> None:
        """Notes that `result` was made after so many steps."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_json(self._finished, {"steps": steps})

    def bring_up_to_date(self, steps_per_epoch: int, num_steps: int) -> None:
        """Notes in the files of an earlier version after how many steps each was made.

        Args:
            steps_per_epoch, num_steps: of the run that made them.
        """
        number_steps(self.history, steps_per_epoch, num_steps)
        if self.result.exists() and not self._finished.exists():
            self.note_result(num_steps)

    def epochs_until(self, step: int, steps_per_epoch: int) -> int:
        """How many epochs of the history have been done after `step` steps."""
        steps = [row.get(STEP) for row in read_history(self.history)]
        return steps.index(step) + 1 if step in steps else -(-step // steps_per_epoch)

    def forget_epochs_from(
        self, epoch: int, first_step: int = 0, before: Sequence[dict] = ()
    ) -> float | None:
        """Cuts the history to the epochs that are done; returns their best validation bits/dim.

        Args:
            epoch: how many that are, those of the part before this phase included.
            first_step: with which the phase begins; the best is one of its own.
            before: if it has not begun, the lines of the part before, with which its history begins.

        Raises:
            BackupError: history or best weights are not those of a run that has done so many epochs.
        """
        history, rows = self.history, read_history(self.history)
        # The first epoch may be told of before its backup is there.
        if epoch == len(before) and len(rows) > epoch + 1:
            raise BackupError(
                f"A run that has done {len(rows)} epochs goes on from a backup; got a history "
                f"{os.fspath(history)!r} of so many and no backup beside it. Put the backup back, or "
                f"remove {os.fspath(history.parent)!r} to begin this phase anew."
            )
        rows = [*before] or rows[:epoch]
        if [row["epoch"] for row in rows] != list(range(epoch)):
            raise BackupError(
                f"The history {os.fspath(history)!r} must tell of the {epoch} epochs that the backup "
                f"beside it has done; got {len(rows)}. Put it back, or remove "
                f"{os.fspath(history.parent)!r} to begin this phase anew."
            )
        own = [row for row in rows if row.get(STEP, np.inf) > first_step]
        if own:
            self._checked_best(read_weights)
        if history.exists() or rows:  # A run of before had fewer columns.
            write_history(history, rows, [*rows[0], *PROBE_COLUMNS, STEP] if rows else [])
        return float(np.min([row["val_bits_per_dim"] for row in own])) if own else None

    def load_best(self, model: keras.Model) -> None:
        """Gives `model` the weights of the best epoch.

        Raises:
            BackupError: they are missing or damaged.
        """
        self._checked_best(lambda path: load_weights(model, path))

    def _checked_best(self, read: Callable[[pathlib.Path], Any]) -> None:
        best = self.best
        try:
            read(best)
        except (FileNotFoundError, DamagedWeightsError) as error:
            raise BackupError(
                f"The weights of the best epoch so far, {os.fspath(best)!r}, must be whole; got "
                f"{'no such file' if isinstance(error, FileNotFoundError) else error}. Put them back, "
                f"or remove {os.fspath(best.parent)!r} to begin this phase anew."
            ) from error
