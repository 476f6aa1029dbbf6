"""Validation, and the best state that is kept, by averages of the weights instead of the last ones."""

from __future__ import annotations

import keras
import numpy as np

from lcma_tf.model import FlowModel, recalibrate
from lcma_tf.model.fused_adam import FusedAdam

__all__ = ["AveragedWeights"]

# What the moving moments of training, of momentum 0.9, reach back to; a validation stays cheap.
_NUM_BATCHES = 20


class AveragedWeights(keras.callbacks.Callback):
    """Lends a flow the averages of its weights, from the validation of an epoch until the epoch ends.

    What stands before it in the list of callbacks sees, at the end of an epoch, the flow that was
    validated; what stands after it, such as a backup, sees the weights that training goes on with. These
    come back to the bit. Batch-norm statistics of training belong to the weights that made them: those
    of the averages are measured anew, over the first 20 of `recalibrate`'s batches.

    Not `keras.callbacks.SwapEMAWeights`, which leaves the statistics as they are, and swaps by adding
    and subtracting: each time the weights would lose digits, and a training depend on how often it is
    validated.

    With several workers all of them need it, since all validate.

    Args:
        images: the training set, uint8 `[N, H, W, C]`.
        batch_size: that of the training.
        seed: order and noise of those batches.

    Raises:
        ValueError: the optimizer of the model is no `FusedAdam` with `use_ema`.
    """

    def __init__(self, images: np.ndarray, batch_size: int, seed: int):
        super().__init__()
        self._images, self._batch_size, self._seed = images, batch_size, seed
        self._own: list[np.ndarray] = []  # The weights of training while the averages are in place.

    def set_model(self, model):
        optimizer = getattr(model, "optimizer", None)
        if not isinstance(optimizer, FusedAdam) or not optimizer.use_ema:
            raise ValueError(
                "`AveragedWeights` needs a model compiled with FusedAdam(use_ema=True); "
                f"got {type(optimizer).__name__}."
            )
        super().set_model(model)

    def on_test_begin(self, logs=None):
        if self._own:
            return
        model: FlowModel = self.model  # pyright: ignore[reportAssignmentType]
        self._own = [variable.numpy() for variable in self._variables()]
        for variable, average in model.optimizer.averages():
            variable.assign(average.numpy())
        recalibrate(model, self._images, self._batch_size, self._seed, _NUM_BATCHES, verbose=False)

    def on_epoch_end(self, epoch, logs=None):
        if self._own:
            for variable, value in zip(self._variables(), self._own, strict=True):
                variable.assign(value)
            self._own = []

    def _variables(self) -> list[keras.Variable]:
        return [v for network in self.model.networks for v in network.variables]  # pyright: ignore
