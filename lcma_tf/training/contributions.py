"""What each dimension contributes to the log-det, averaged over a training set (equation 9).

Two passes over the data with fixed weights: `recalibrate` makes the batch-norm statistics exact,
`average_contributions` then averages the log-det terms in inference mode.
"""

from __future__ import annotations

import os

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.data import evaluation_batches, training_batches
from lcma_tf.factorization import FactorizationError
from lcma_tf.files.npz import NpzError, read_npz, save_npz
from lcma_tf.model import FlowModel

__all__ = ["average_contributions", "load_contributions", "recalibrate", "save_contributions"]


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


def average_contributions(
    model: FlowModel, images: np.ndarray, batch_size: int, seed: int = 0
) -> list[np.ndarray]:
    """Returns for every flow layer the mean over `images` of equation 9's tensor.

    Entry l is the sum of the log-det terms of the layers up to and including l, in-flow batch norms
    counted, the pixel transform not; in inference mode, in nats, in the coordinates of the data.

    Args:
        model: the pretrained flow, recalibrated.
        images: uint8 `[N, H, W, C]`.
        batch_size: images a pass.
        seed: of the dequantization noise, another draw for each batch.

    Returns:
        K arrays, float32 `[H, W, C]`.
    """

    @tf.function(autograph=False, reduce_retracing=True)
    def sums(batch, index):
        terms = model.layer_terms(batch, noise_of(model, seed, index))
        return [tf.reduce_sum(layer, axis=0) for layer in terms]

    totals = np.zeros((model.config.num_scales, *model.config.image_shape))
    bar = keras.utils.Progbar(len(images), unit_name="image")
    for index, batch in enumerate(evaluation_batches(images, batch_size)):
        totals += np.stack([layer.numpy() for layer in sums(batch, tf.constant(index))])
        bar.add(len(batch))
    return list(np.cumsum(totals / len(images), axis=0).astype(np.float32))


def noise_of(model: FlowModel, seed: int, index: tf.Tensor, num_rows: int = 1) -> tf.Tensor:
    """Dequantization noise `[num_rows, H, W, C]` of batch `index` under `seed`."""
    stream = tf.random.experimental.stateless_fold_in(tf.stack([seed, 3]), index)
    shape = [num_rows, *model.config.image_shape]
    return tf.random.stateless_uniform(shape, stream, dtype=model.compute_dtype)


def save_contributions(path: str | os.PathLike[str], contributions: list[np.ndarray]) -> None:
    """Writes `layer_1` ... `layer_K`, float32 `[H, W, C]`, as one npz file."""
    save_npz(path, {f"layer_{i}": layer for i, layer in enumerate(contributions, start=1)})


def load_contributions(path: str | os.PathLike[str]) -> list[np.ndarray]:
    """Reads what `save_contributions` wrote, in the order of the layers.

    Raises:
        FactorizationError: it is not such a file, or a damaged one.
    """
    rule = f"The contributions {os.fspath(path)!r} must be an npz file with layer_1, layer_2, ..."
    try:
        arrays = read_npz(path)
    except NpzError as error:
        raise FactorizationError(f"{rule}; got {error}") from error
    names = [f"layer_{layer}" for layer in range(1, len(arrays) + 1)]
    if not names or set(names) != arrays.keys():
        raise FactorizationError(f"{rule}; got {', '.join(sorted(arrays)) or 'no array'}.")
    layers = [arrays[name] for name in names]
    for name, layer in zip(names, layers, strict=True):
        if layer.dtype != np.float32 or layer.ndim != 3 or layer.shape != layers[0].shape:
            raise FactorizationError(
                f"{rule}, all float32 [H, W, C] of one shape; {name} is {layer.dtype} "
                f"{list(layer.shape)} and layer_1 {list(layers[0].shape)}."
            )
    return layers
