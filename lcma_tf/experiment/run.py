"""Figure 2 of the paper as a run: pretrain, average, decide, train, evaluate, draw.

Each phase leaves one file in the workdir when it is done, whole or not at all; a phase whose file is
there is not run again. So a run that was stopped anywhere goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

from lcma_tf import data as data_lib
from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.data import ImageData
from lcma_tf.data.image_data import SPLITS
from lcma_tf.distribute.strategy import Runtime
from lcma_tf.experiment import pictures
from lcma_tf.experiment.calibrated import calibrate_run
from lcma_tf.experiment.carried_weights import carried_flow
from lcma_tf.experiment.check_run import check_run, given_factorization
from lcma_tf.experiment.decision import Decision
from lcma_tf.experiment.initial_flow import Decided, initial_flow
from lcma_tf.experiment.metrics import agreement_with_realnvp, measure
from lcma_tf.experiment.result import print_result
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization, evidence_of, needs_pretraining
from lcma_tf.files.paths import kind_of_dataset
from lcma_tf.files.saving import write_json
from lcma_tf.model import FlowModel, load
from lcma_tf.say import say
from lcma_tf.stopwatch import STEPS, stopwatch, time_by_part, timed
from lcma_tf.training.leftovers import nothing_left_behind
from lcma_tf.training.part import Part
from lcma_tf.training.phase import TrainingPhase

__all__ = ["Run"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the pipeline: `claimed`, `pretrain`, `decide`, `train`, `finish`, or all by a call.

    With several workers (`lcma_tf.distribute.workers`) all have one and do the same with it; `workdir`
    is the chief's, and the others need none.

    Args:
        flow, config: what it is.
        data: its images.
        workdir: where it is kept.
        runtime: of whoever begins it.
        calibrates: whether it ends with a calibration of its scores, too.

    Raises:
        ConfigError, DataError, FactorizationError, WorkdirError: before anything is written.
        BackupError: what was saved before cannot be read.
        NonFiniteError: training left the finite numbers.
        SaveError: a file could not be written; what was saved before is kept.
        WorkerError: another worker failed.
    """

    flow: FlowConfig
    config: TrainConfig
    data: ImageData
    workdir: Workdir
    runtime: Runtime
    calibrates: bool = True

    def __call__(self) -> dict[str, Any]:
        """Runs, or finishes, the whole pipeline; returns what it wrote into `metrics.json`."""
        with stopwatch() as seconds, self.claimed():
            metrics = self.finish(self.train(self.decide()))
        if STEPS in seconds and self.runtime.workers.is_chief:
            say(f"time: {time_by_part(seconds)}")
        return metrics

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Makes the workdir this run's, and keeps other processes out of it until the block ends."""
        data_lib.check_training_batches(self.data.train, self.config.batch_size)
        self.runtime.check_batch_size(self.config.batch_size)
        self.runtime.config.check_fits(self.config)
        workers = self.runtime.workers
        with workers.in_touch(), contextlib.ExitStack() as held:
            workers.check_equal(self.description)
            workers.on_chief(lambda: self._claim(held))
            yield

    def description(self) -> dict[str, Any]:
        """What the workers of one run must have in common, by name."""
        own = ("data_dir", "factorization_path", "initialize_from")  # Where files are on this host.
        shared = {name: value for name, value in self.config.to_dict().items() if name not in own}
        return {
            **self.flow.to_dict(),
            **shared,
            "dataset": kind_of_dataset(self.config.dataset),
            "steps_per_execution": self.runtime.config.steps_per_execution,
            "begins_with_other_weights": self.config.initialize_from is not None,
            **{f"images of {split}": found for split, found in self.data.fingerprint.items()},
        }

    def pretrain(self, evidence: str = "contributions") -> None:
        """Leaves what a flow without splits tells of every flow layer.

        The rule and the steps of the training that is to follow have no part in it; but where it is the
        first part of that training (`TrainConfig.factorize_at_step`), it has its learning rate.

        Args:
            evidence: `contributions` (equation 9), or `gain`, which comes with them.
        """
        workers, workdir, config = self.runtime.workers, self.workdir, self.config
        wanted = {workdir.contributions, workdir.evidence(evidence)}
        if workers.on_chief(lambda: all(path.exists() for path in wanted)):
            return
        steps, is_part = config.steps_without_splits, config.factorize_at_step is not None
        if workers.is_chief:
            of_all = f", the first of {config.train_steps}" if is_part else ""
            say(f"pretrain: {steps} steps without multi-scale{of_all}")
        undivided = Factorization.from_dict(
            workers.on_chief(lambda: self._decision.undivided().to_dict())
        )
        part = Part(run_steps=config.train_steps) if is_part else Part()
        files = workdir.files("pretrain")
        phase = TrainingPhase(self.flow, undivided, steps, files, part=part)
        with nothing_left_behind(with_keras=False):  # A hundred MB beside the training's own.
            self._average(evidence, phase)

    def _average(self, evidence: str, phase: TrainingPhase) -> None:
        model = phase.run(self.data, self.config, self.runtime)
        with timed("contributions"):
            self.runtime.workers.on_chief(lambda: self._decision.average(evidence, model))

    def decide(self) -> Factorization:
        """The factorization of the run: the one it has, the one it was given, or one decided now."""
        workers, path = self.runtime.workers, self.workdir.factorization
        if not workers.on_chief(path.exists):
            rule, is_given = self.config.split_rule, self.config.factorization_path is not None
            if not is_given and needs_pretraining(rule):
                self.pretrain(evidence_of(rule) or "contributions")
            with timed("decision"):
                workers.on_chief(self._decide)
        return Factorization.from_dict(workers.on_chief(lambda: Factorization.load(path).to_dict()))

    def train(self, factorization: Factorization) -> FlowModel:
        """The flow of the run, trained."""
        config, first = self.config, self.config.factorize_at_step
        steps, files = config.train_steps, self.workdir.files("train")
        if self.runtime.workers.is_chief and not files.is_done(steps):
            say(f"train: {steps} steps with rule '{factorization.rule}'")
        part, initial = Part(), None
        if first is not None:
            part = Part(first, steps, self.workdir.files("pretrain").history)
        if first is not None or config.initialize_from is not None:
            initial = functools.partial(self._initial_flow, factorization)
        phase = TrainingPhase(self.flow, factorization, steps, files, initial, part)
        return phase.run(self.data, config, self.runtime)

    def finish(self, model: FlowModel) -> dict[str, Any]:
        """Evaluates and draws what is not there yet, and tells the result; returns the metrics."""
        return self.runtime.workers.on_chief(lambda: self._finish(model))

    @property
    def _decision(self) -> Decision:
        return Decision(self.flow, self.config, self.data, self.workdir)

    # What the chief does.

    def _claim(self, held: contextlib.ExitStack) -> None:
        """Claims the workdir, if all that the run is given suits it; locked until `held` is closed."""
        workdir, fingerprint = self.workdir, self.data.fingerprint
        config = check_run(self.flow, self.config, workdir, fingerprint)
        held.enter_context(workdir.locked())
        workdir.check(self.flow, config, fingerprint)  # Again: another run may have claimed it.
        workdir.claim(self.flow, config, fingerprint)
        counts = " / ".join(f"{len(getattr(self.data, split)):,}" for split in SPLITS)
        told = f"data: {self.data.name}, {counts} images for {', '.join(SPLITS)}."
        say(f"{told} {self.data.description}".strip())

    def _initial_flow(self, factorization: Factorization) -> FlowModel:
        path = self.config.initialize_from
        if path is None:
            return carried_flow(load(self.workdir.files("pretrain").result), factorization)
        say("begin with the weights of another run")
        return initial_flow(path, self.flow, Decided.of(factorization))

    def _decide(self) -> None:
        given = given_factorization(self.flow, self.config)
        factorization = given or self._decision.factorization()
        factorization.save(self.workdir.factorization)
        for scale, share in enumerate(agreement_with_realnvp(factorization), start=1):
            say(f"mask_{scale} agrees with the static 'realnvp' mask on {share:.1%} of dimensions")

    def _finish(self, model: FlowModel) -> dict[str, Any]:
        flow, workdir, config = model.frozen(), self.workdir, self.config
        metrics, last = workdir.read_metrics(), workdir.path / pictures.LAST
        if metrics.get("steps") != config.train_steps:  # None yet, or those of fewer steps.
            say("evaluate")
            last.unlink(missing_ok=True)
            with timed("evaluation"):
                metrics = measure(flow, config, self.data, workdir)
            metrics["num_parameters"] = model.num_parameters
            write_json(workdir.metrics, metrics)
        if self.calibrates:
            with timed("calibration"):
                calibrate_run(model, self.data.validation, workdir)
        if not last.exists():
            say("draw")
            with timed("pictures"):
                pictures.draw_run(flow, model.factorization, self.data, workdir, metrics)
        print_result(metrics, workdir)
        return metrics
