"""Batch-norm statistics that belong to the weights: a pass over the data with these fixed."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.data import training_batches
from lcma_tf.model import FlowModel

__all__ = ["noise_of", "recalibrate"]


def recalibrate(
    model: FlowModel, images: np.ndarray, batch_size: int, seed: int = 0, max_batches: int = 100
) -> None:
    """Sets the moving moments of all batch norms to equal-weight averages over training batches.

    Training leaves an exponential average that lags behind the weights; a flow evaluated with it can
    be off by orders of magnitude. Weights do not change here.

    Args:
        model: changed in place.
        images: the training set, uint8 `[N, H, W, C]`.
        batch_size: that of the training, since the moments are those of such batches.
        seed: order and noise.
        max_batches: batches to average over, at most one pass.
    """
    batch_size = min(batch_size, len(images))
    num_batches = min(max_batches, len(images) // batch_size)

    @tf.function(autograph=False)
    def step(batch, index):
        momentum = tf.cast(index / (index + 1), model.compute_dtype)  # The mean so far.
        noise = noise_of(model, seed, index, num_rows=batch_size)
        model.log_prob_parts(batch, noise, training=True, momentum=momentum)

    bar = keras.utils.Progbar(num_batches, unit_name="batch")
    for index, batch in enumerate(training_batches(images, batch_size, seed).take(num_batches)):
        step(batch, tf.constant(index))
        bar.update(index + 1)


def noise_of(model: FlowModel, seed: int, index: tf.Tensor, num_rows: int = 1) -> tf.Tensor:
    """Dequantization noise `[num_rows, H, W, C]` of batch `index` under `seed`."""
    stream = tf.random.experimental.stateless_fold_in(tf.stack([seed, 3]), index)
    shape = [num_rows, *model.config.image_shape]
    return tf.random.stateless_uniform(shape, stream, dtype=model.compute_dtype)
