"""What a pretrained flow tells of each dimension, averaged over a training set.

Passes over the data with fixed weights, in inference mode, so that the batch-norm statistics must be
right: `recalibrate` makes them so before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.config import require_kind
from lcma_tf.data import evaluation_batches
from lcma_tf.data.pipeline import batch_spec
from lcma_tf.factorization import FactorizationError
from lcma_tf.files.npz import NpzError, read_npz, save_npz
from lcma_tf.model import FlowModel
from lcma_tf.model.density import ImageDensity
from lcma_tf.model.noise import check_seed
from lcma_tf.model.recalibration import noise_of
from lcma_tf.traced import traced

__all__ = ["average_contributions", "average_gain", "load_contributions", "save_contributions"]

PerLayer = Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]]


def average_contributions(
    model: FlowModel, images: np.ndarray, batch_size: int = 64, seed: int = 0
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

    Raises:
        ConfigError: another model, or a seed that is no integer.
        DataError: images of another type or rank, or none.
        ValueError: images of another shape than the flow's.
    """
    require_kind("model", model, FlowModel)
    flow = model.frozen()
    means = _layer_means(flow.layer_terms, flow, images, batch_size, seed)
    return list(np.cumsum(means, axis=0).astype(np.float32))


def average_gain(
    model: FlowModel,
    images: np.ndarray,
    contributions: Sequence[np.ndarray],
    batch_size: int = 64,
    seed: int = 0,
) -> list[np.ndarray]:
    """Returns for every flow layer by how much the density of each dimension grows after it.

    The mean over `images` of the log-det terms of all later layers, plus what the standard normal
    log-density of the latent is above that of the layer's own output: what a dimension that exits after
    the layer goes without. 0 for the last.

    Args:
        model, images, batch_size, seed: as given to `average_contributions`.
        contributions: what it returned.

    Returns:
        K arrays, float32 `[H, W, C]`, nats, in the coordinates of the data.
    """

    flow = model.frozen()

    def energies(batch, noise):
        return [tf.square(value) / 2 for value in flow.layer_values(batch, noise)]

    energy = _layer_means(energies, flow, images, batch_size, seed)
    terms = np.asarray(contributions, np.float64)
    return list(((terms[-1] - terms) + (energy - energy[-1])).astype(np.float32))


def _layer_means(
    per_layer: PerLayer, flow: ImageDensity, images: np.ndarray, batch_size: int, seed: int
) -> np.ndarray:
    """Means over `images` of what `per_layer` makes of a batch and its noise, `[K, H, W, C]`."""
    flow.check_array(images)
    check_seed(seed)
    shape = (flow.config.num_scales, *flow.config.image_shape)

    def stacked(batch, noise):
        return tf.stack(per_layer(batch, noise), axis=1)

    layers_of = flow.by_rows(stacked, shape, flow.density_dtype)

    def sums(batch, index):
        return tf.reduce_sum(layers_of(batch, noise_of(flow, seed, index)), axis=0)

    # The last batch may be smaller, and is no other graph.
    sums = traced(sums, input_signature=[batch_spec(images), tf.TensorSpec([], tf.int32)])
    totals = np.zeros(shape)
    bar = keras.utils.Progbar(len(images), unit_name="image")
    for index, batch in enumerate(evaluation_batches(images, batch_size)):
        totals += sums(batch, tf.constant(index)).numpy()
        bar.add(len(batch))
    return totals / len(images)


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
