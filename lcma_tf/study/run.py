"""The paper's Table 2 as one program: every split rule with every seed, then tables and pictures.

A study is a folder of ordinary runs (`lcma_tf.experiment.run`), each resumable by itself. The rules of
one seed share one pretraining, unless each has a warm-up of its own (`TrainConfig.factorize_at_step`);
data, steps, parameters and seeds are the same for all. After each run the outputs are written anew, so
that a study can be read before it is finished.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from lcma_tf import data as data_lib
from lcma_tf.config import FlowConfig, TrainConfig, require
from lcma_tf.data import ImageData
from lcma_tf.distribute.strategy import Runtime
from lcma_tf.errors import UserError
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import FactorizationError
from lcma_tf.say import say
from lcma_tf.study.config import Arm, StudyConfig, extra_steps, run_configs
from lcma_tf.study.folder import StudyFolder, is_finished
from lcma_tf.study.outputs import write_outputs
from lcma_tf.training.contributions import load_contributions, save_contributions
from lcma_tf.training.leftovers import nothing_left_behind
from lcma_tf.training.non_finite import NonFiniteError

__all__ = ["Study", "StudyError"]

Comparison = tuple[Arm, int]  # An arm and a seed.


class StudyError(UserError, ArithmeticError):
    """Some runs of a study ended without a result; the others are kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Every rule with every seed. A call runs what is missing, and reports on all of it.

    A run that ends without a result, since something in it was not finite, is reported as such, and
    the others go on.

    Args:
        config: rules and seeds; what the folder has beyond them becomes part of the study.
        flow, train: configs of every run, but for rule, seed and, at equal compute, steps.
        data: the images of all runs.
        folder: new, empty, or that of a study of the same configs.
        runtime: of whoever begins it.
        command: what runs it, for the report.

    Raises:
        ConfigError, DataError, WorkdirError: before anything is written.
        BackupError: what was saved before cannot be read.
        SaveError: a file could not be written; what was saved before is kept.
        StudyError: at the end, if a run ended without a result.
    """

    config: StudyConfig
    flow: FlowConfig
    train: TrainConfig
    data: ImageData
    folder: StudyFolder
    runtime: Runtime
    command: str = ""

    def __call__(self) -> None:
        self._joined()._check()
        with self.folder.locked():
            # What it has: until now another study may have added to it.
            whole = self._joined()
            whole.folder.claim_study(
                whole.config, self.flow, self.train, self.command, self.data.fingerprint
            )
            whole._run_missing()

    def _joined(self) -> Study:
        found = self.folder.joined(self.config, self.flow, self.train, self.data.fingerprint)
        return dataclasses.replace(self, config=found)

    def _check(self) -> None:
        """Everything that can be wrong with a study, before the first step."""
        path, scales = self.train.factorization_path, self.flow.num_scales
        require(path is None, "factorization_path", "left out: a study decides its own", path)
        require(
            scales >= 2, "num_scales", "at least 2, so that there is something to split", scales
        )
        data_lib.check_training_batches(self.data.train, self.train.batch_size)
        self.runtime.check_batch_size(self.train.batch_size)
        for arm, seed in self._runs():
            of_run = self._configs(arm, seed)
            self.runtime.config.check_fits(of_run[1])
            self.folder.run(arm, seed).check(*of_run, self.data.fingerprint)
            shared = self.folder.pretraining(seed)
            shared.check(*self._without_splits(seed), self.data.fingerprint)

    def _run_missing(self) -> None:
        runs = self._runs()
        for run in runs:
            if is_finished(self.folder.run(*run)):  # Before there was a file of cells, may be.
                self.folder.keep_cell(*run, None)
        left = [run for run in runs if not self.folder.metrics_of(*run)]
        say(f"study: {len(runs)} runs, {len(runs) - len(left)} of them finished")
        clock, failures = _Clock(), {}
        for run in list(left):
            arm, seed = run
            steps_left = self._steps(left)
            say(
                f"study: run {runs.index(run) + 1} of {len(runs)}: rule '{arm.rule}', seed {seed}, "
                f"{arm.steps:,} steps; {clock.time_for(steps_left)}"
            )
            is_begun, started = self._is_begun(arm, seed), time.monotonic()
            left.remove(run)
            try:
                with nothing_left_behind():
                    cpu_seconds = self._run(arm, seed)
            except (NonFiniteError, FactorizationError) as error:
                failures[f"seed_{seed}/{arm}"] = str(error)
                say(f"study: this run ends without a result. {error}")
            else:
                self.folder.keep_cell(arm, seed, None if is_begun else cpu_seconds)
                if not is_begun:  # The steps before an interruption took time that is not known.
                    clock.add(steps_left - self._steps(left), time.monotonic() - started)
            if left:  # After the last run they are written below.
                with nothing_left_behind():
                    self._report(failures)
        report = self._report(failures)
        for arm in report.results:
            figures = ", ".join(f"{figure:.4f}" for figure in report.figures(arm).values())
            say(f"study: {arm}: {figures or 'no'} bits/dim")
        if failures:
            raise StudyError(
                f"{len(failures)} of {len(runs)} runs ended without a result, as they would again in "
                f"a study of the same config: {', '.join(failures)}."
            )

    def _report(self, failures: dict[str, str]):
        return write_outputs(self.folder, self.config, self.train, self.data, failures)

    def _runs(self) -> list[Comparison]:
        """Seed by seed, so that rules can be compared as soon as the first seed is through."""
        arms = self.config.arms(self.train)
        return [(arm, seed) for seed in self.config.seeds for arm in arms]

    def _configs(self, arm: Arm, seed: int) -> tuple[FlowConfig, TrainConfig]:
        return run_configs(arm, seed, self.flow, self.train)

    def _without_splits(self, seed: int) -> tuple[FlowConfig, TrainConfig]:
        """The configs of the pretraining of a seed, which is the same whatever rule reads it."""
        return self._configs(Arm("none", self.train.train_steps), seed)

    def _run(self, arm: Arm, seed: int) -> float:
        """One ordinary run, given what the pretraining of its seed tells if its rule reads it.

        Returns:
            The seconds of all cores that it took, the pretraining not counted.
        """
        of_run, fingerprint = self._configs(arm, seed), self.data.fingerprint
        workdir = self.folder.run(arm, seed)
        wanted = arm.pretrained_evidence if self._shares(arm) else ()
        if not all(workdir.evidence(name).exists() for name in wanted):
            shared = self._pretrained(seed, arm)
            with workdir.locked():
                workdir.claim(*of_run, fingerprint)
                for name in wanted:  # A phase that is done.
                    layers = load_contributions(shared.evidence(name))
                    save_contributions(workdir.evidence(name), layers)
        started = time.process_time()
        self._run_in(workdir, of_run)()
        if not is_finished(workdir):
            raise NonFiniteError("Its bits/dim on the test images are not finite.")
        return time.process_time() - started

    def _pretrained(self, seed: int, arm: Arm) -> Workdir:
        """The pretraining of `seed`, with what `arm` reads of it."""
        shared, configs = self.folder.pretraining(seed), self._without_splits(seed)
        with shared.locked():
            shared.claim(*configs, self.data.fingerprint)
            self._run_in(shared, configs).pretrain(arm.pretrained_evidence[-1])
        return shared

    def _shares(self, arm: Arm) -> bool:
        """Whether `arm` is decided by the pretraining of its seed."""
        return arm.pretrains and extra_steps(self.train) > 0

    def _run_in(self, workdir: Workdir, configs: tuple[FlowConfig, TrainConfig]) -> Run:
        return Run(*configs, self.data, workdir, self.runtime, calibrates=False)

    def _is_begun(self, arm: Arm, seed: int) -> bool:
        shared = self.folder.pretraining(seed)
        is_pretraining = (
            self._shares(arm) and shared.path.exists() and not shared.contributions.exists()
        )
        return self.folder.run(arm, seed).path.exists() or is_pretraining

    def _steps(self, runs: Sequence[Comparison]) -> int:
        """Steps that these runs take, with the pretrainings that they need and nobody has done."""
        pretrainings = {seed for arm, seed in runs if self._shares(arm)}
        missing = [s for s in pretrainings if not self.folder.pretraining(s).contributions.exists()]
        return sum(arm.steps for arm, _ in runs) + len(missing) * self.train.pretrain_steps


class _Clock:
    """The time that is left, from the time that finished runs took."""

    def __init__(self):
        self._steps, self._seconds = 0, 0.0

    def add(self, steps: int, seconds: float) -> None:
        self._steps += steps
        self._seconds += seconds

    def time_for(self, steps: int) -> str:
        if not self._steps:
            return "the time left is known after one whole run"
        minutes = round(steps * self._seconds / self._steps / 60)
        hours = f"{minutes // 60} h " if minutes >= 60 else ""
        return f"about {hours}{minutes % 60} min left" if minutes else "less than a minute left"
