"""What training needs beyond Keras' own callbacks: speed on the bar, an exact end, safe weights."""

from __future__ import annotations

import contextlib
import os
import time

import keras

from lcma_tf.stopwatch import STEPS, timed
from lcma_tf.training.backup import optimizer_step
from lcma_tf.training.whole_weights import save_weights

__all__ = [
    "BestWeights",
    "StepTimes",
    "StopAtStep",
    "TrainingProgress",
]


class TrainingProgress(keras.callbacks.ProgbarLogger):
    """Keras' progress bar, with bits/dim and images/s and nothing else.

    Args:
        batch_size: images a step, over all replicas.
        num_replicas: over all workers; where there are several, images/s of each are shown too.
    """

    def __init__(self, batch_size: int, num_replicas: int = 1):
        super().__init__()
        self._batch_size = batch_size
        self._num_replicas = num_replicas
        self._started = 0.0
        self._first_batch = 0

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._started = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if (
            not self._started
        ):  # The first batch of an epoch may trace the step: no measure of speed.
            self._started, self._first_batch = now, batch
        shown = {"bits/dim": float(logs["bits_per_dim"])}
        if batch > self._first_batch:
            seconds = now - self._started
            speed = self._batch_size * (batch - self._first_batch) / seconds
            shown["images/s"] = speed
            if self._num_replicas > 1:
                shown["images/s per replica"] = speed / self._num_replicas
        super().on_train_batch_end(batch, shown)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        shown = {"bits/dim": logs["bits_per_dim"]}
        if "val_bits_per_dim" in logs:
            shown["validation bits/dim"] = logs["val_bits_per_dim"]
        super().on_epoch_end(epoch, shown)


class StepTimes(keras.callbacks.Callback):
    """Tells `lcma_tf.stopwatch` steps, the first of them, which is traced, and validation apart."""

    def __init__(self):
        super().__init__()
        self._is_traced = False
        self._now = contextlib.ExitStack()

    def on_train_batch_begin(self, batch, logs=None):
        self._now.enter_context(timed(STEPS if self._is_traced else "first step"))

    def on_train_batch_end(self, batch, logs=None):
        self._now.close()
        self._is_traced = True

    def on_test_begin(self, logs=None):
        self._now.enter_context(timed("validation"))

    def on_test_end(self, logs=None):
        self._now.close()

    def on_train_end(self, logs=None):
        self._now.close()


class StopAtStep(keras.callbacks.Callback):
    """Ends training after `num_steps` steps, though the last epoch may not be full.

    Args:
        num_steps: optimizer steps in all, over every run that is resumed.
    """

    def __init__(self, num_steps: int):
        super().__init__()
        self._num_steps = num_steps

    def on_train_batch_end(self, batch, logs=None):
        if optimizer_step(self.model) >= self._num_steps:
            self.model.stop_training = True


class BestWeights(keras.callbacks.Callback):
    """Keras' `ModelCheckpoint` of the best epoch's weights, with a file that is whole at any moment.

    Args:
        path: the `.weights.h5` file.
        best: the lowest validation bits/dim of the epochs before; None: there are none.
    """

    def __init__(self, path: str | os.PathLike[str], best: float | None = None):
        super().__init__()
        self._path = path
        self._best = best

    def on_epoch_end(self, epoch, logs=None):
        score = float((logs or {})["val_bits_per_dim"])
        if self._best is None or score < self._best:
            save_weights(self.model, self._path)  # pyright: ignore[reportArgumentType]
            self._best = score
