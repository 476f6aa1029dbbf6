"""One phase of training: `fit` with Keras' callbacks, resumable, ending in one saved flow."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from lcma_tf.choices import OPTIMIZERS
from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.data import ImageData, training_batches
from lcma_tf.distribute.batches import distribute_evaluation, distribute_training
from lcma_tf.distribute.strategy import Runtime
from lcma_tf.factorization import Factorization
from lcma_tf.files.saving import NO_ROOM, refusals_named, written_whole
from lcma_tf.model import FlowModel, load_weights, recalibrate
from lcma_tf.model.bits_per_dim import NegativeLogLikelihood
from lcma_tf.model.recalibration import moves_moments
from lcma_tf.say import say
from lcma_tf.stopwatch import timed
from lcma_tf.training.averaged_weights import AveragedWeights
from lcma_tf.training.backup import Resume
from lcma_tf.training.callbacks import (
    BestWeights,
    StepTimes,
    StopAtStep,
    TrainingProgress,
)
from lcma_tf.training.history import HistoryLogger
from lcma_tf.training.non_finite import StopAtNonFinite
from lcma_tf.training.part import Part
from lcma_tf.training.phase_files import PhaseFiles
from lcma_tf.training.probe import ProbeEachEpoch

__all__ = ["TrainingPhase", "full_disk_named", "make_optimizer"]


@dataclasses.dataclass(frozen=True)
class TrainingPhase:
    """Trains one flow for so many steps, or goes on with it, and leaves its best state, recalibrated.

    Best is the state with the lowest bits/dim on the validation images, which are scored in inference
    mode after every `TrainConfig.steps_per_epoch` steps; with `TrainConfig.ema` the states are those of
    the averaged weights, with batch-norm statistics of their own. Where the result is there already
    nothing is trained; where there is a backup, training goes on from it.

    Args:
        flow, factorization: what is trained.
        num_steps: optimizer steps in all, those done before included.
        files: where it is kept.
        initial: gives the flow to begin with, of the same kind; None = fresh weights. Called by the
            chief alone, before the first step.
        part: which part of a training it is, if not all of it.
    """

    flow: FlowConfig
    factorization: Factorization
    num_steps: int
    files: PhaseFiles
    initial: Callable[[], FlowModel] | None = None
    part: Part = dataclasses.field(default_factory=Part)

    def run(self, data: ImageData, config: TrainConfig, runtime: Runtime) -> FlowModel:
        """Does the phase, or what is left of it.

        With several workers (`lcma_tf.distribute.workers`) all call this, and all return the same flow;
        the files are the chief's.

        Raises:
            BackupError: what was saved of this phase before cannot be read.
            ConfigError: the steps that are left are no whole number of `steps_per_execution`.
            NonFiniteError: the loss left the finite numbers.
            SaveError: a file could not be written; what was saved before is kept.
            WorkerError: another worker failed.
        """
        workers, files = runtime.workers, self.files
        done = workers.on_chief(lambda: files.is_done(self.num_steps))
        if not done:
            workers.on_chief(lambda: files.directory.mkdir(parents=True, exist_ok=True))
            self._fit(self._compiled(config, runtime), data, config, runtime)

        # A plain copy: no optimizer in its file, and none of the strategy's variables.
        final = FlowModel(self.flow, self.factorization)

        def finish():
            files.load_best(final)
            if moves_moments(final):
                say(
                    "measure the batch-norm statistics of the best epoch, where training had averages"
                )
            with timed("statistics"):
                recalibrate(final, data.train, config.batch_size, config.seed)
            with written_whole(files.result) as temporary:
                final.save(temporary)
            files.note_result(self.num_steps)

        workers.on_chief(finish if not done else lambda: load_weights(final, files.result))
        workers.share(final.weights)
        return final

    def _compiled(self, config: TrainConfig, runtime: Runtime) -> FlowModel:
        options = runtime.config
        with runtime.strategy.scope():
            model = FlowModel(self.flow, self.factorization, rematerialize=options.rematerialize)
            model.compile(
                make_optimizer(config, self.part.run_steps or self.num_steps, self.part.first_step),
                loss=NegativeLogLikelihood(),
                steps_per_execution=options.steps_per_execution,
                jit_compile=options.jit_compile,  # pyright: ignore[reportArgumentType]
            )
            model.optimizer.build(model.trainable_variables)
        return model

    def _restore(self, model: FlowModel, resume: Resume) -> int:
        step, first = resume.restore(model), self.part.first_step
        if step or self.initial is None:
            return step
        model.set_weights(self.initial().get_weights())
        model.training_calls.assign(first)  # The noise is that of this run.
        model.optimizer.iterations.assign(first)
        return first

    def _place(self, step: int, steps_per_epoch: int) -> tuple[int, float | None]:
        """The epoch after `step`, and the best bits/dim before it; the history is cut to it."""
        files, part = self.files, self.part
        before = [] if step > part.first_step else part.lines_before()
        epoch = len(before) or files.epochs_until(step, steps_per_epoch)
        return epoch, files.forget_epochs_from(epoch, part.first_step, before)

    def _fit(
        self, model: FlowModel, data: ImageData, config: TrainConfig, runtime: Runtime
    ) -> None:
        """Trains from the last backup to the end; leaves the weights of the best epoch."""
        workers, files = runtime.workers, self.files
        steps_per_epoch = min(config.steps_per_epoch, self.num_steps)
        resume = Resume(files.backup)
        step = workers.on_chief(lambda: self._restore(model, resume))
        if step or self.initial is not None:
            workers.share([*model.weights, *model.optimizer.variables])
        epoch, best_before = workers.on_chief(lambda: self._place(step, steps_per_epoch))
        if step >= self.num_steps:
            return
        if step > self.part.first_step and workers.is_chief:
            say(f"go on from step {step:,}")
        left = self.num_steps - step
        runtime.config.check_divides("the steps that are left", left)
        is_chief, num_replicas = workers.is_chief, runtime.strategy.num_replicas_in_sync
        writers = [
            ProbeEachEpoch(data.validation),  # Before those that write what it adds to the logs.
            TrainingProgress(config.batch_size, num_replicas),
            keras.callbacks.TensorBoard(os.fspath(files.logs), write_graph=False),
            BestWeights(files.best, best_before),
            HistoryLogger(files.history, self.part.marks),
        ]
        averaged = []
        if config.ema is not None:
            # The writers see what was validated, the backup what training goes on with.
            averaged = [AveragedWeights(data.train, config.batch_size, config.seed)]
        validation, validation_steps = distribute_evaluation(
            runtime.strategy, data.validation, config.batch_size
        )
        batches = training_batches(data.train, config.batch_size, config.seed, step, config.flip)
        with full_disk_named(files.logs):
            model.fit(
                distribute_training(runtime.strategy, batches),
                epochs=epoch + -(-left // steps_per_epoch),
                initial_epoch=epoch,
                steps_per_epoch=steps_per_epoch,
                shuffle=False,
                validation_data=validation,
                validation_steps=validation_steps,
                callbacks=[
                    StepTimes(),  # First: what the others do at the end of a step is no part of it.
                    StopAtNonFinite(model.part_names, is_backed_up=True),
                    StopAtStep(self.num_steps),
                    # They read variables alone, which takes no other worker.
                    *(writers if is_chief else []),
                    *averaged,
                    # Last: what the others write for an epoch is there when it counts as done.
                    *([resume] if is_chief else []),
                ],
                verbose="auto" if is_chief else 0,  # pyright: ignore[reportArgumentType]
                recalibrate=False,  # The best state is, once, at the end.
            )


@contextlib.contextmanager
def full_disk_named(path: pathlib.Path) -> Iterator[None]:
    """Raises `SaveError` where TensorFlow finds no room as it writes event files to `path`."""
    try:
        yield
    except tf.errors.OpError as error:  # Of its own kinds; a lack of memory is one of them.
        for number in NO_ROOM:
            if os.strerror(number) in str(error):
                with refusals_named(path):
                    raise OSError(number, os.strerror(number)) from error
        raise


def make_optimizer(
    config: TrainConfig, num_steps: int, first_step: int = 0
) -> keras.optimizers.Optimizer:
    """The optimizer of `config`, with its schedule and clipping; Adam as the RealNVP program sets it.

    Args:
        num_steps: at which the schedule ends.
        first_step: with which this optimizer takes over.
    """
    rate = config.learning_rate
    if config.learning_rate_schedule == "cosine" or config.warmup_steps:
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if config.warmup_steps else config.learning_rate,
            warmup_target=config.learning_rate if config.warmup_steps else None,
            warmup_steps=config.warmup_steps,
            decay_steps=num_steps - config.warmup_steps,
            alpha=0.0 if config.learning_rate_schedule == "cosine" else 1.0,
        )
    return OPTIMIZERS[config.optimizer](
        rate,  # pyright: ignore[reportArgumentType]
        epsilon=1e-8,
        first_step=first_step,
        global_clipnorm=config.clip_norm,
        **({} if config.ema is None else {"use_ema": True, "ema_momentum": config.ema}),
    )
