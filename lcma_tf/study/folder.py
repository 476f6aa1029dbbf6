"""The folder of a study: what lies where, whose it is, and what its finished runs found."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lcma_tf.config import ConfigError, FlowConfig, TrainConfig
from lcma_tf.experiment import pictures
from lcma_tf.experiment.going_on import differences_of
from lcma_tf.experiment.workdir import Workdir, WorkdirError
from lcma_tf.files.saving import write_json
from lcma_tf.study.cells import Cell, Cells
from lcma_tf.study.config import Arm, StudyConfig, run_configs
from lcma_tf.training.history import STEP

__all__ = ["StudyFolder", "is_finished"]

# What a run of a study has for itself.
_OF_A_RUN = {"flow": ("seed",), "train": ("seed", "split_rule", "factorization_path")}


class StudyFolder(Workdir):
    """Paths of one study: its own description and, below it, ordinary workdirs of runs.

    A study is described by `study.json` where a run has `config.json`, so that neither passes for the
    other. Nothing is made before `claim_study`.

    Args:
        path: the folder.
        cells: results of runs that are taken as run, though their workdirs are not here; those of new
            ones are added to it. None = there are none.

    Raises:
        WorkdirError: `path` is empty.
    """

    def __init__(self, path: str | os.PathLike[str], cells: Cells | None = None):
        super().__init__(path)
        self.config = self.path / "study.json"
        self.cells = cells

    _way_out = "Give the study's own values, or a new workdir."

    def _in_the_way(self, there: dict[str, Any], now: dict[str, Any]) -> list[str]:
        return differences_of(there, now)  # Its runs are compared with one another.

    def _gone_on(self, there: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        return there

    def run(self, arm: Arm, seed: int) -> Workdir:
        """The workdir of one run, as `lcma_tf.experiment.run.Run` takes it."""
        return Workdir(self.path / f"seed_{seed}" / str(arm))

    def pretraining(self, seed: int) -> Workdir:
        """The workdir of the pretraining that the rules of one seed share."""
        return Workdir(self.path / f"seed_{seed}" / "pretraining")

    def joined(
        self,
        study: StudyConfig,
        flow: FlowConfig,
        train: TrainConfig,
        fingerprint: Mapping[str, Any] | None = None,
    ) -> StudyConfig:
        """`study` with what the folder has already, if that is a study of the same configs and images.

        Raises:
            WorkdirError: it is not, or cannot be read.
        """
        self.check(*_common(flow, train), fingerprint)
        stored = self._read_json().get("study")
        if stored is None:
            return study
        try:
            return StudyConfig.from_dict(stored).joined(study)
        except (ConfigError, TypeError) as error:
            raise WorkdirError(
                f"`workdir` must be a study's, with a readable {self.config.name}; "
                f"got {str(self.path)!r}: {error}"
            ) from error

    def claim_study(
        self,
        study: StudyConfig,
        flow: FlowConfig,
        train: TrainConfig,
        command: str,
        fingerprint: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes the folder and writes into it what the study is, and by which commands.

        Raises:
            WorkdirError: the file system refuses.
        """
        self.claim(*_common(flow, train), fingerprint)
        values = self._read_json()
        for part, names in _OF_A_RUN.items():
            values[part] = {k: v for k, v in values[part].items() if k not in names}
        commands = dict.fromkeys([*values.get("commands", []), *filter(None, [command])])
        values |= {"study": study.to_dict(), "commands": list(commands)}
        write_json(self.config, values)

    def commands(self) -> list[str]:
        """The different commands that the study was run with, in order."""
        return self._read_json().get("commands", [])

    def results(self, study: StudyConfig, train: TrainConfig) -> dict[Arm, dict[int, Any]]:
        """The metrics of the finished runs: arm -> seed -> `metrics.json`; no arm is left out."""
        found = {
            arm: {seed: self.metrics_of(arm, seed) for seed in study.seeds}
            for arm in study.arms(train)
        }
        return {
            arm: {seed: metrics for seed, metrics in by_seed.items() if metrics}
            for arm, by_seed in found.items()
        }

    def metrics_of(self, arm: Arm, seed: int) -> dict[str, Any]:
        """The `metrics.json` of a finished run, of here or of a cell; empty if there is none."""
        if is_finished(self.run(arm, seed)):
            return self.run(arm, seed).read_metrics()
        cell = self._cell(arm, seed)
        return {} if cell is None else cell.metrics

    def validation_curve(self, arm: Arm, seed: int) -> Mapping[str, np.ndarray]:
        """`step` and `val_bits_per_dim` of a finished run's training, one entry an epoch."""
        if is_finished(self.run(arm, seed)):
            curves = self.run(arm, seed).curves("train")
            return {name: curves[name] for name in (STEP, "val_bits_per_dim")}
        cell = self._cell(arm, seed)
        curve = {} if cell is None else cell.curve
        return {name: np.array(column) for name, column in curve.items()}

    def keep_cell(self, arm: Arm, seed: int, cpu_seconds: float | None) -> None:
        """Adds a run that is finished here to the cells, if there is a file of them without it.

        Args:
            cpu_seconds: of the run; None = they are not known.

        Raises:
            SaveError: it cannot be written.
        """
        if self.cells is not None and self._cell(arm, seed) is None:
            curve, metrics = self.validation_curve(arm, seed), self.metrics_of(arm, seed)
            self.cells.add(Cell.of_run(*self._of_run(arm, seed), metrics, curve, cpu_seconds))

    def _cell(self, arm: Arm, seed: int) -> Cell | None:
        return None if self.cells is None else self.cells.find(*self._of_run(arm, seed))

    def _of_run(self, arm: Arm, seed: int) -> tuple[FlowConfig, TrainConfig, Mapping[str, Any]]:
        images = self.read_fingerprint() or {}
        return *run_configs(arm, seed, *self.read_configs()), images

    def _read_json(self) -> dict[str, Any]:
        # Its readability was seen to by `check`.
        return json.loads(self.config.read_text()) if self.config.exists() else {}


def is_finished(workdir: Workdir) -> bool:
    """Whether nothing is left to do of the run, and its score is a number."""
    is_done = (workdir.path / pictures.LAST).exists()
    return is_done and math.isfinite(workdir.read_metrics().get("test_bits_per_dim", math.nan))


def _common(flow: FlowConfig, train: TrainConfig) -> tuple[FlowConfig, TrainConfig]:
    """The configs with the defaults where each run has its own, so that studies can be compared."""
    of_flow, of_train = (
        {name: getattr(config, name) for name in _OF_A_RUN[part]}  # A field's default.
        for part, config in (("flow", FlowConfig), ("train", TrainConfig))
    )
    return dataclasses.replace(flow, **of_flow), dataclasses.replace(train, **of_train)
