"""One phase of training: `fit` with Keras' callbacks, resumable, ending in one saved flow."""

from __future__ import annotations

import csv
import os
import pathlib

import keras
import numpy as np

from lcma_tf.callbacks import (
    Resume,
    StopAtNonFinite,
    StopAtStep,
    TrainingProgress,
    read_history,
)
from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.contribution import recalibrate
from lcma_tf.data import ImageData, evaluation_batches, training_batches
from lcma_tf.devices import RuntimeConfig, make_strategy
from lcma_tf.factorization import Factorization
from lcma_tf.metrics import NegativeLogLikelihood
from lcma_tf.model import FlowModel, load
from lcma_tf.optimizer import FusedAdam

__all__ = ["make_optimizer", "train_flow"]


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

    Args:
        directory: for backups, TensorBoard logs, `history.csv` and the best weights.
        result: the `.keras` file to write.

    Raises:
        NonFiniteError: the loss left the finite numbers.
    """
    if result.exists():
        return load(result)
    directory.mkdir(parents=True, exist_ok=True)
    best, history = directory / "best.weights.h5", directory / "history.csv"

    strategy = make_strategy(runtime.num_devices, config.batch_size)
    with strategy.scope():
        model = FlowModel(flow_config, factorization, rematerialize=runtime.rematerialize)
        model.compile(
            make_optimizer(config, num_steps),
            loss=NegativeLogLikelihood(),
            steps_per_execution=runtime.steps_per_execution,
            jit_compile=runtime.jit_compile,  # pyright: ignore[reportArgumentType]
        )
    steps_per_epoch = min(config.steps_per_epoch, num_steps)
    resume = Resume(os.fspath(directory / "backup"))
    step = resume.restore(model)
    epoch = -(-step // steps_per_epoch)
    best_before = _forget_epochs_from(epoch, history)
    if step < num_steps:
        model.fit(
            training_batches(data.train, config.batch_size, config.seed, step, config.flip),
            epochs=-(-num_steps // steps_per_epoch),
            initial_epoch=epoch,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,
            validation_data=evaluation_batches(data.validation, config.batch_size),
            callbacks=[
                StopAtNonFinite(model.part_names),
                StopAtStep(num_steps),
                TrainingProgress(config.batch_size),
                keras.callbacks.TensorBoard(
                    os.fspath(directory / "tensorboard"), write_graph=False
                ),
                keras.callbacks.ModelCheckpoint(
                    os.fspath(best),
                    monitor="val_bits_per_dim",
                    mode="min",
                    save_best_only=True,
                    save_weights_only=True,
                    initial_value_threshold=best_before,
                ),
                keras.callbacks.CSVLogger(os.fspath(history), append=True),
                resume,  # Last: what the others write for an epoch is there when it counts as done.
            ],
        )
    # A plain copy: no optimizer in the file, and none of the strategy's variables.
    final = FlowModel(flow_config, factorization)
    final.load_weights(best)
    recalibrate(final, data.train, config.batch_size, config.seed)
    temporary = result.with_name(f"unfinished_{result.name}")
    final.save(temporary)
    os.replace(temporary, result)
    return final


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


def _forget_epochs_from(epoch: int, history: pathlib.Path) -> float | None:
    """Cuts the history to the epochs that are done; returns their best validation bits/dim."""
    rows = read_history(history, num_epochs=epoch)
    if history.exists():
        temporary = history.with_suffix(".tmp")
        with open(temporary, "w", newline="") as file:
            if rows:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows({**row, "epoch": int(row["epoch"])} for row in rows)
        os.replace(temporary, history)
    return float(np.min([row["val_bits_per_dim"] for row in rows])) if rows else None
