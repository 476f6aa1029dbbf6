"""The paper's Table 2 as one program: every split rule with every seed, then tables and pictures.

A study is a folder of ordinary runs (`run_experiment`), each resumable by itself. The rules of one
seed share one pretraining; data, steps, parameters and seeds are the same for all. After each run the
outputs are written anew, so that a study can be read before it is finished.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from lcma_tf import data as data_lib
from lcma_tf.config import FlowConfig, TrainConfig, require
from lcma_tf.data import ImageData
from lcma_tf.distribute.strategy import RuntimeConfig, make_strategy
from lcma_tf.errors import UserError
from lcma_tf.experiment.run import pretrain, run_experiment
from lcma_tf.factorization import FactorizationError
from lcma_tf.say import say
from lcma_tf.study.config import Arm, StudyConfig, run_configs
from lcma_tf.study.folder import StudyFolder, is_finished
from lcma_tf.study.leftovers import nothing_left_behind
from lcma_tf.study.outputs import write_outputs
from lcma_tf.training.contributions import save_contributions
from lcma_tf.training.non_finite import NonFiniteError

__all__ = ["StudyError", "run_study"]

Run = tuple[Arm, int]  # An arm and a seed.


class StudyError(UserError, ArithmeticError):
    """Some runs of a study ended without a result; the others are kept."""


def run_study(
    study: StudyConfig,
    flow: FlowConfig,
    train: TrainConfig,
    data: ImageData,
    folder: StudyFolder,
    runtime: RuntimeConfig,
    command: str = "",
) -> None:
    """Runs what is missing of a study, and reports on all of it.

    A run that ends without a result, since something in it was not finite, is reported as such, and
    the others go on.

    Args:
        study: rules and seeds; what the folder has beyond them stays part of the study.
        flow, train: configs of every run, but for rule, seed and, at equal compute, steps.
        folder: new, empty, or that of a study of the same configs.
        command: what runs it, for the report.

    Raises:
        ConfigError, DataError, WorkdirError: before anything is written.
        BackupError: what was saved before cannot be read.
        SaveError: a file could not be written; what was saved before is kept.
        StudyError: at the end, if a run ended without a result.
    """
    _check(study, flow, train, data, folder, runtime)
    with folder.locked():
        # What it has: until now another study may have added to it.
        study = folder.joined(study, flow, train, data.fingerprint)
        folder.claim_study(study, flow, train, command, data.fingerprint)
        _run_missing(study, flow, train, data, folder, runtime)


def _run_missing(study, flow, train, data, folder, runtime) -> None:
    runs = _runs(study, train)
    left = [run for run in runs if not is_finished(folder.run(*run))]
    say(f"study: {len(runs)} runs, {len(runs) - len(left)} of them finished")
    clock, failures = _Clock(), {}
    for run in list(left):
        arm, seed = run
        steps_left = _steps(left, folder, train)
        say(
            f"study: run {runs.index(run) + 1} of {len(runs)}: rule '{arm.rule}', seed {seed}, "
            f"{arm.steps:,} steps; {clock.time_for(steps_left)}"
        )
        is_begun, started = _is_begun(arm, seed, folder), time.monotonic()
        left.remove(run)
        try:
            with nothing_left_behind():
                _run(arm, seed, flow, train, data, folder, runtime)
        except (NonFiniteError, FactorizationError) as error:
            failures[f"seed_{seed}/{arm}"] = str(error)
            say(f"study: this run ends without a result. {error}")
        else:
            if not is_begun:  # The steps before an interruption took time that is not known.
                steps_taken = steps_left - _steps(left, folder, train)
                clock.add(steps_taken, time.monotonic() - started)
        if left:  # After the last run they are written below.
            with nothing_left_behind():
                write_outputs(folder, study, train, data, failures)
    report = write_outputs(folder, study, train, data, failures)
    for arm in report.results:
        figures = ", ".join(f"{figure:.4f}" for figure in report.figures(arm).values())
        say(f"study: {arm}: {figures or 'no'} bits/dim")
    if failures:
        raise StudyError(
            f"{len(failures)} of {len(runs)} runs ended without a result, as they would again in a "
            f"study of the same config: {', '.join(failures)}."
        )


def _check(study, flow, train, data, folder, runtime) -> None:
    """Everything that can be wrong with a study, before the first step."""
    path = train.factorization_path
    require(path is None, "factorization_path", "left out: a study decides its own", path)
    scales = flow.num_scales
    require(scales >= 2, "num_scales", "at least 2, so that there is something to split", scales)
    study = folder.joined(study, flow, train, data.fingerprint)
    data_lib.check_training_batches(data.train, train.batch_size)
    make_strategy(runtime.num_devices, train.batch_size)
    for arm, seed in _runs(study, train):
        of_run = run_configs(arm, seed, flow, train)
        runtime.check_fits(of_run[1])
        folder.run(arm, seed).check(*of_run, data.fingerprint)
        folder.pretraining(seed).check(*_without_splits(seed, flow, train), data.fingerprint)


def _runs(study: StudyConfig, train: TrainConfig) -> list[Run]:
    """Seed by seed, so that rules can be compared as soon as the first seed is through."""
    return [(arm, seed) for seed in study.seeds for arm in study.arms(train)]


def _run(arm, seed, flow, train, data, folder, runtime) -> None:
    """One ordinary run, given the contributions of its seed if its rule reads them."""
    of_run = run_configs(arm, seed, flow, train)
    workdir = folder.run(arm, seed)
    if arm.pretrains and not workdir.contributions.exists():
        shared = folder.pretraining(seed)
        without_splits = _without_splits(seed, flow, train)
        with shared.locked():
            shared.claim(*without_splits, data.fingerprint)
            contributions = pretrain(*without_splits, data, shared, runtime)
        with workdir.locked():
            workdir.claim(*of_run, data.fingerprint)
            save_contributions(workdir.contributions, contributions)  # A phase that is done.
    run_experiment(*of_run, data, workdir, runtime)
    if not is_finished(workdir):
        raise NonFiniteError("Its bits/dim on the test images are not finite.")


def _without_splits(seed: int, flow: FlowConfig, train: TrainConfig):
    """The configs of the pretraining of a seed, which is the same whatever rule reads it."""
    return run_configs(Arm("none", train.train_steps), seed, flow, train)


def _is_begun(arm: Arm, seed: int, folder: StudyFolder) -> bool:
    shared = folder.pretraining(seed)
    is_pretraining = arm.pretrains and shared.path.exists() and not shared.contributions.exists()
    return folder.run(arm, seed).path.exists() or is_pretraining


def _steps(runs: Sequence[Run], folder: StudyFolder, train: TrainConfig) -> int:
    """Steps that these runs take, with the pretrainings that they need and nobody has done."""
    pretrainings = {seed for arm, seed in runs if arm.pretrains}
    missing = [s for s in pretrainings if not folder.pretraining(s).contributions.exists()]
    return sum(arm.steps for arm, _ in runs) + len(missing) * train.pretrain_steps


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
