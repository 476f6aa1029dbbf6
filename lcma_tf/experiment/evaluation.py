"""How good a flow is: bits/dim over a whole split, and whether images come back from latents."""

from __future__ import annotations

import functools
import math

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.data import evaluation_batches
from lcma_tf.data.pipeline import batch_spec
from lcma_tf.model.bits_per_dim import nats_to_bits_per_dim
from lcma_tf.model.density import ImageDensity
from lcma_tf.traced import traced

__all__ = [
    "bits_per_dim_of_split",
    "bits_per_dim_parts_of_split",
    "count_exact_reconstructions",
    "standard_error",
]


def bits_per_dim_of_split(
    model: ImageDensity,
    images: np.ndarray,
    batch_size: int = 64,
    seed: int = 0,
    *,
    num_importance_samples: int = 1,
    num_dimensions: int | None = None,
    split: str = "",
) -> np.ndarray:
    """Bits/dim of every image, float64 `[N]`; the mean of all is the figure of the literature.

    Uniform dequantization, inference statistics, the whole split. Batch b takes the noise of
    `seed + b`, so that one unlucky draw does not touch all images.

    Args:
        model: a `FlowModel`, or faster a `FrozenFlow`.
        images: `[N, H, W, C]`.
        batch_size: images a pass.
        seed: of the noise.
        num_importance_samples: draws for each image (`FlowModel.log_prob`). With more than one, the
            tighter bound: in expectation never above the bits/dim of one draw, and falling towards
            those of the exact log-probability of the 8-bit image.
        num_dimensions: what to divide by; None = those that the model counts. Data padded in another
            way than the model's have their own `ImageData.num_original_dimensions`.
        split: its name, which the bar shows.
    """

    def score(batch, seed):
        return model.log_prob(batch, seed, num_importance_samples).numpy()

    num_dimensions = num_dimensions or model.config.num_dimensions
    nats = _over_split(score, images, batch_size, seed, num_dimensions, split)
    return nats_to_bits_per_dim(nats, num_dimensions)


def bits_per_dim_parts_of_split(
    model: ImageDensity,
    images: np.ndarray,
    batch_size: int = 64,
    seed: int = 0,
    num_dimensions: int | None = None,
) -> dict[str, np.ndarray]:
    """The one-draw bits/dim of every image in parts, each float64 `[N]`; they add up to the whole.

    The parts are `latent` (density of the latents), `layer_1` ... `layer_K` (log-det of each flow
    layer) and `pixel` (log-det of the pixel transform), in this order. Arguments as
    `bits_per_dim_of_split`; the noise is the same.
    """

    @functools.partial(traced, input_signature=[batch_spec(images), tf.TensorSpec([], tf.int32)])
    def parts_of(batch, seed):
        return model.scored_parts(batch, model.scoring_noise(seed))

    def score(batch, seed):
        return parts_of(batch, tf.constant(seed)).numpy()

    num_dimensions = num_dimensions or model.config.num_dimensions
    nats = _over_split(score, images, batch_size, seed, num_dimensions)
    layers = [f"layer_{layer}" for layer in range(1, model.config.num_scales + 1)]
    bits = nats_to_bits_per_dim(nats, num_dimensions)
    return dict(zip(["latent", *layers, "pixel"], bits.T, strict=True))


def standard_error(scores: np.ndarray) -> float | None:
    """Of the mean of `scores` `[N]` as an estimate for all images of their kind; None for one image."""
    return float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None


def count_exact_reconstructions(
    model: ImageDensity, images: np.ndarray, batch_size: int = 64
) -> int:
    """How many images `decode(encode(x))` returns without a single differing pixel.

    Real-valued pixels come back as the nearest of the 256 levels.
    """
    exact = 0
    for batch in evaluation_batches(images, batch_size):
        decoded = model.decode(model.encode(batch)).numpy().astype(np.float32)
        # Half a level is where one rounding ends and the next begins: give it 0.01.
        same = np.abs(decoded - batch.numpy()) < 0.51
        exact += int(same.all(axis=(1, 2, 3)).sum())
    return exact


def _over_split(score, images, batch_size, seed, num_dimensions, split=""):
    """`score(batch, seed)` of all batches, float64 `[N, ...]`, under a bar of the bits/dim so far."""
    # A stateful metric is shown as it is given. Of others the bar keeps means by itself, and loses them
    # at its end, where it shows what it was given last.
    label = f"{split} bits/dim".lstrip()
    bar = keras.utils.Progbar(len(images), unit_name="image", stateful_metrics=[label])
    scores, total, count = [], 0.0, 0
    for index, batch in enumerate(evaluation_batches(images, batch_size)):
        scores.append(score(batch, seed + index).astype(np.float64))
        total, count = total + scores[-1].sum(), count + len(batch)
        mean = float(nats_to_bits_per_dim(total / count, num_dimensions))
        bar.add(len(batch), [(label, mean)])
    return np.concatenate(scores)
