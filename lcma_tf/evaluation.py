"""How good a flow is: bits/dim over a whole split, and whether images come back from latents."""

from __future__ import annotations

import keras
import numpy as np

from lcma_tf.data import evaluation_batches
from lcma_tf.density import ImageDensity

__all__ = ["bits_per_dim_of_split", "count_exact_reconstructions"]


def bits_per_dim_of_split(
    model: ImageDensity,
    images: np.ndarray,
    batch_size: int = 64,
    seed: int = 0,
    num_importance_samples: int = 1,
) -> np.ndarray:
    """Bits/dim of every image, float64 `[N]`; the mean of all is the figure of the literature.

    Uniform dequantization, inference statistics, the whole split. Batch b takes the noise of
    `seed + b`, so that one unlucky draw does not touch all images.

    Args:
        model: a `FlowModel`, or faster a `FrozenFlow`.
        images: uint8 `[N, H, W, C]`.
        batch_size: images a pass.
        seed: of the noise.
        num_importance_samples: draws for each image (`FlowModel.log_prob`).
    """
    bar = keras.utils.Progbar(len(images), unit_name="image")
    scores = []
    for index, batch in enumerate(evaluation_batches(images, batch_size)):
        scores.append(model.bits_per_dim(batch, seed + index, num_importance_samples).numpy())
        bar.add(len(batch), [("bits/dim", float(scores[-1].mean()))])
    return np.concatenate(scores).astype(np.float64)


def count_exact_reconstructions(
    model: ImageDensity, images: np.ndarray, batch_size: int = 64
) -> int:
    """How many images `decode(encode(x))` returns without a single differing pixel."""
    exact = 0
    for batch in evaluation_batches(images, batch_size):
        same = model.decode(model.encode(batch)).numpy() == batch.numpy()
        exact += int(same.all(axis=(1, 2, 3)).sum())
    return exact
