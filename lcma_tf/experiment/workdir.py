"""The folder of a run: what lies where, and whose it is."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.data.fingerprint import differences
from lcma_tf.errors import UserError
from lcma_tf.experiment.going_on import compared, in_the_way, kept, steps_of
from lcma_tf.files.folder_lock import folder_lock
from lcma_tf.files.paths import expanded, kind_of_dataset, path_text
from lcma_tf.files.saving import SaveError, refusal_to_write, unfinished, write_json
from lcma_tf.model import MODEL_FILE
from lcma_tf.say import say
from lcma_tf.training.history import read_curves
from lcma_tf.training.phase_files import PhaseFiles

__all__ = ["Workdir", "WorkdirError"]

_FINGERPRINT = "images"  # Beside the configs in their file.
_PHASES = ("pretrain", "train")


class WorkdirError(UserError, ValueError):
    """A folder that is not, or not yet, the run that was asked for."""


class Workdir:
    """Paths of one run. Nothing is made before `locked` or `claim`.

    Args:
        path: the folder; `~` is expanded.

    Raises:
        WorkdirError, PathError: `path` is empty, or no path.
    """

    def __init__(self, path: str | os.PathLike[str]):
        if not (named := path_text("workdir", path)):
            raise WorkdirError("`workdir` must be the path of a folder; got ''.")
        self.path = pathlib.Path(expanded(named))
        self.config = self.path / "config.json"
        self.contributions = self.evidence("contributions")
        self.undivided = self.path / "pretrain" / "factorization.npz"  # Of the pretraining.
        self.factorization = self.path / "factorization.npz"
        self.metrics = self.path / "metrics.json"
        self.model = self.path / MODEL_FILE
        self.calibration = self.path / "calibration.npz"
        self._lock = self.path / "lock"

    def evidence(self, name: str) -> pathlib.Path:
        """What a pretrained flow tells a split rule: `contributions` or `gain`, layer by layer."""
        return self.path / f"{name}.npz"

    def phase(self, name: str) -> pathlib.Path:
        """The folder of the backups, logs and history of `pretrain` or `train`."""
        return self.path / name

    def files(self, name: str) -> PhaseFiles:
        """All files of the phase `pretrain` or `train`."""
        result = self.model if name == "train" else self.phase(name) / MODEL_FILE
        return PhaseFiles(self.phase(name), result)

    def curves(self, name: str) -> dict[str, np.ndarray]:
        """The history of the phase `pretrain` or `train` (`read_curves`); {} if there is none.

        Raises:
            WorkdirError: the workdir cannot be read.
        """
        config = self.read_configs()[1]
        steps = steps_of(config, name)
        return read_curves(self.files(name).history, config.steps_per_epoch, steps)

    def check_place(self) -> None:
        """Raises `WorkdirError` unless the folder is new, empty or a run's, and can be written to."""
        if self.path.is_file():
            raise WorkdirError(f"`workdir` must be a folder; got the file {str(self.path)!r}.")
        if (refusal := refusal_to_write(self.config)) is not None:
            raise self._unwritable(refusal)
        if self.path.exists() and not self.config.exists():
            # A kill while the claim was written leaves a folder that is as good as empty.
            torn = (unfinished(self.config).name, self._lock.name)
            others = sorted(entry.name for entry in self.path.iterdir() if entry.name not in torn)
            if others:
                raise WorkdirError(
                    "`workdir` must be new, empty or a run's; got "
                    f"{str(self.path)!r} with {', '.join(others[:3])} and no {self.config.name}."
                )

    def check(
        self, flow: FlowConfig, train: TrainConfig, fingerprint: Mapping[str, Any] | None = None
    ) -> None:
        """Raises `WorkdirError` unless such a run, of such images, may begin or go on in the folder.

        What may differ is said in `lcma_tf.experiment.going_on`. Paths count by the place that they lead
        to; that of the data does not count at all where the images themselves can be compared.

        Args:
            fingerprint: `ImageData.fingerprint`; None = images are not compared.
        """
        self.check_place()
        if not self.config.exists():
            return
        ours, theirs = compared(flow, train), compared(*self.read_configs())
        known = self.read_fingerprint()
        if fingerprint is not None and known is not None:
            for values in (ours, theirs):
                values["dataset"] = kind_of_dataset(values["dataset"])
        differing = self._in_the_way(theirs, ours)
        if differing:
            raise WorkdirError(
                f"`workdir` must be new or of the same config; {str(self.path)!r} has "
                f"{'; '.join(differing)}. {self._way_out}"
            )
        if fingerprint is not None and known is not None and known != fingerprint:
            found = "; ".join(differences(known, fingerprint))
            raise WorkdirError(
                "`dataset` must hold the images that the run was begun with, or `workdir` be new; "
                f"{str(self.path)!r} was begun with others: {found}."
            )

    def claim(
        self, flow: FlowConfig, train: TrainConfig, fingerprint: Mapping[str, Any] | None = None
    ) -> None:
        """Makes the folder and writes into it what the run is; paths are made absolute.

        To be called after `check`. A run of an earlier version, which knows no `fingerprint`, is given
        this one, and its files tell of their steps from now on.

        Raises:
            WorkdirError: the folder cannot be made.
            SaveError: the configs cannot be written.
        """
        with self._writable():
            self.path.mkdir(parents=True, exist_ok=True)
            known = json.loads(self.config.read_text()) if self.config.exists() else {}
            new = {"flow": flow.to_dict(), "train": train.with_absolute_paths().to_dict()}
            values = dict(known or new)
            if known:
                values["train"] = self._gone_on(known["train"], new["train"])
            if fingerprint is not None:
                values.setdefault(_FINGERPRINT, dict(fingerprint))
            if values != known:
                write_json(self.config, values)

    _way_out = (
        "Give the run's own values, or a new workdir, which `initialize_from` may begin with the "
        "weights of this one."
    )

    def _in_the_way(self, there: dict[str, Any], now: dict[str, Any]) -> list[str]:
        return in_the_way(there, now, self.factorization.exists())

    def _gone_on(self, there: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """What the config of the run becomes; what was done under that of before is noted first."""
        before = TrainConfig.from_dict(there)
        for name in _PHASES:
            self.files(name).bring_up_to_date(before.steps_per_epoch, steps_of(before, name))
        return kept(before.to_dict(), now, self.factorization.exists())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and keeps other processes out until the block, or this process, ends.

        A file system without locks keeps nobody out; a line says so.

        Raises:
            WorkdirError: another run is at work in it, or the file system refuses.
        """
        with contextlib.ExitStack() as held:
            with self._writable():
                self.path.mkdir(parents=True, exist_ok=True)
                try:
                    is_held = held.enter_context(folder_lock(self._lock))
                except BlockingIOError as error:
                    raise WorkdirError(
                        "`workdir` must not be in use by another process; "
                        f"got {str(self.path)!r}, where one is at work."
                    ) from error
            if not is_held:
                say(
                    f"warning: no locks on the file system of {str(self.path)!r}: run nothing else in it"
                )
            yield

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except SaveError:
            raise
        except OSError as error:
            raise self._unwritable(error.strerror or str(error)) from error

    def _unwritable(self, refusal: str) -> WorkdirError:
        return WorkdirError(
            "`workdir` must be a folder that can be made and written to; "
            f"got {str(self.path)!r}: {refusal}."
        )

    def check_there(self) -> None:
        """Raises `WorkdirError` unless something is there."""
        if not self.path.exists():
            raise WorkdirError(f"`workdir` must hold a run; there is no {str(self.path)!r}.")

    def read_configs(self) -> tuple[FlowConfig, TrainConfig]:
        """The configs that the run was started with.

        Raises:
            WorkdirError: there are none, or they cannot be read.
        """
        self.check_there()
        try:
            values = json.loads(self.config.read_text())
            return FlowConfig.from_dict(values["flow"]), TrainConfig.from_dict(values["train"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkdirError(
                f"`workdir` must be a run's, with a readable {self.config.name}; "
                f"got {str(self.path)!r}: {error}"
            ) from error

    def read_fingerprint(self) -> dict[str, Any] | None:
        """`ImageData.fingerprint` of the images that the run was begun with; None = it is not known.

        Raises:
            WorkdirError: there is no run, or it cannot be read.
        """
        self.read_configs()
        return json.loads(self.config.read_text()).get(_FINGERPRINT)

    def read_metrics(self) -> dict[str, Any]:
        """What the run wrote when it was evaluated; empty before that.

        Raises:
            WorkdirError: it cannot be read.
        """
        try:
            return json.loads(self.metrics.read_text()) if self.metrics.exists() else {}
        except (OSError, ValueError) as error:
            raise WorkdirError(
                f"`workdir` must have a readable {self.metrics.name}; got {str(self.path)!r}: {error}"
            ) from error
