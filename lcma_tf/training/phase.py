"""One phase of training: `fit` with Keras' callbacks, resumable, ending in one saved flow."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.data import ImageData, training_batches
from lcma_tf.distribute.batches import distribute_evaluation, distribute_training
from lcma_tf.distribute.strategy import RuntimeConfig, make_strategy
from lcma_tf.distribute.workers import Workers
from lcma_tf.factorization import Factorization
from lcma_tf.files.saving import NO_ROOM, refusals_named, written_whole
from lcma_tf.model import FlowModel, load_weights
from lcma_tf.model.bits_per_dim import NegativeLogLikelihood
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training.backup import Resume
from lcma_tf.training.callbacks import (
    BestWeights,
    StopAtStep,
    TrainingProgress,
)
from lcma_tf.training.history import HistoryLogger
from lcma_tf.training.non_finite import StopAtNonFinite
from lcma_tf.training.phase_files import forget_epochs_from, load_best
from lcma_tf.training.probe import ProbeEachEpoch
from lcma_tf.training.recalibration import recalibrate

__all__ = ["full_disk_named", "make_optimizer", "train_flow"]


def train_flow(
    flow_config: FlowConfig,
    factorization: Factorization,
    data: ImageData,
    config: TrainConfig,
    num_steps: int,
    directory: pathlib.Path,
    result: pathlib.Path,
    runtime: RuntimeConfig,
) -> FlowModel:
    """Trains a flow for `num_steps` and returns its best state, recalibrated.

    Best is the state with the lowest bits/dim on the validation images, which are scored in inference
    mode after every `config.steps_per_epoch` steps. If `result` exists the phase is done and nothing is
    trained; if `directory` holds a backup, training goes on from it.

    With several workers (`lcma_tf.distribute.workers`) all call this, and all return the same flow; the
    files are the chief's.

    Args:
        directory: for backups, TensorBoard logs, `history.csv` (a line an epoch: loss, bits/dim, their
            parts, the same of the validation images, and `lcma_tf.training.probe.Probe`) and the best
            weights.
        result: the `.keras` file to write.

    Raises:
        BackupError: what was saved of this phase before cannot be read.
        NonFiniteError: the loss left the finite numbers.
        SaveError: a file could not be written; what was saved before is kept.
        WorkerError: another worker failed.
    """
    strategy = make_strategy(runtime.num_devices, config.batch_size)
    workers = Workers(strategy)
    best = directory / "best.weights.h5"
    done = workers.on_chief(result.exists)
    if not done:
        workers.on_chief(lambda: directory.mkdir(parents=True, exist_ok=True))
        with strategy.scope():
            model = FlowModel(flow_config, factorization, rematerialize=runtime.rematerialize)
            model.compile(
                make_optimizer(config, num_steps),
                loss=NegativeLogLikelihood(),
                steps_per_execution=runtime.steps_per_execution,
                jit_compile=runtime.jit_compile,  # pyright: ignore[reportArgumentType]
            )
            model.optimizer.build(model.trainable_variables)
        _fit(model, data, config, num_steps, directory, best, workers)

    # A plain copy: no optimizer in its file, and none of the strategy's variables.
    final = FlowModel(flow_config, factorization)

    def finish():
        load_best(final, best)
        recalibrate(final, data.train, config.batch_size, config.seed)
        with written_whole(result) as temporary:
            final.save(temporary)

    workers.on_chief(finish if not done else lambda: load_weights(final, result))
    workers.share(final.weights)
    return final


def _fit(
    model: FlowModel,
    data: ImageData,
    config: TrainConfig,
    num_steps: int,
    directory: pathlib.Path,
    best: pathlib.Path,
    workers: Workers,
) -> None:
    """Trains from the last backup to `num_steps`; leaves the weights of the best epoch in `best`."""
    history, logs = directory / "history.csv", directory / "tensorboard"
    steps_per_epoch = min(config.steps_per_epoch, num_steps)
    resume = Resume(directory / "backup")
    step = workers.on_chief(lambda: resume.restore(model))
    if step:
        workers.share([*model.weights, *model.optimizer.variables])
    epoch = -(-step // steps_per_epoch)
    best_before = workers.on_chief(lambda: forget_epochs_from(epoch, history, best))
    if step >= num_steps:
        return
    strategy = model.distribute_strategy
    writers = [
        ProbeEachEpoch(data.validation),  # Before those that write what it adds to the logs.
        TrainingProgress(config.batch_size, strategy.num_replicas_in_sync),
        keras.callbacks.TensorBoard(os.fspath(logs), write_graph=False),
        BestWeights(best, best_before),
        HistoryLogger(history),
        resume,  # Last: what the others write for an epoch is there when it counts as done.
    ]
    validation, validation_steps = distribute_evaluation(
        strategy, data.validation, config.batch_size
    )
    batches = training_batches(data.train, config.batch_size, config.seed, step, config.flip)
    with full_disk_named(logs):
        model.fit(
            distribute_training(strategy, batches),
            epochs=-(-num_steps // steps_per_epoch),
            initial_epoch=epoch,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,
            validation_data=validation,
            validation_steps=validation_steps,
            callbacks=[
                StopAtNonFinite(model.part_names, is_backed_up=True),
                StopAtStep(num_steps),
                # They read variables alone, which takes no other worker.
                *(writers if workers.is_chief else []),
            ],
            verbose="auto" if workers.is_chief else 0,  # pyright: ignore[reportArgumentType]
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


def make_optimizer(config: TrainConfig, num_steps: int) -> keras.optimizers.Optimizer:
    """Adam as the RealNVP program sets it, with the schedule and clipping of `config`."""
    rate = config.learning_rate
    if config.learning_rate_schedule == "cosine" or config.warmup_steps:
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if config.warmup_steps else config.learning_rate,
            warmup_target=config.learning_rate if config.warmup_steps else None,
            warmup_steps=config.warmup_steps,
            decay_steps=num_steps - config.warmup_steps,
            alpha=0.0 if config.learning_rate_schedule == "cosine" else 1.0,
        )
    return FusedAdam(
        rate,  # pyright: ignore[reportArgumentType]
        epsilon=1e-8,
        global_clipnorm=config.clip_norm,
    )
