"""What images say by themselves, as they enter a flow: the rotation of their colours, and samples.

Both look at pixels behind the pixel transform, in float64, and are functions of config, images and a
seed alone: the same on every host.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.bijectors import dequantize
from lcma_tf.choices import PIXEL_TRANSFORMS
from lcma_tf.config import FlowConfig, require_kind
from lcma_tf.data import evaluation_batches
from lcma_tf.data.pipeline import batch_spec
from lcma_tf.factorization import FactorizationError
from lcma_tf.factorization.rotation import klt

__all__ = ["fit_channel_rotation", "sample_logits"]

_BATCH = 256
_MAX_SAMPLES = 800  # Covariances of 3x3 blocks, over all places: more changes no decision.


def fit_channel_rotation(config: FlowConfig, images: np.ndarray) -> np.ndarray:
    """The Karhunen-Loeve transform of the colours behind the pixel transform, over all images.

    Pixels are taken at the middle of their bins.

    Args:
        config: whose pixel transform and image shape are meant.
        images: the training set, `[N, H, W, C]`, at least one.

    Returns:
        float64 `[C, C]`, orthogonal: rows are the axes, the one of most variance first. For grey images
        the identity.

    Raises:
        DataError: images of another type or rank.
        FactorizationError: images of another shape, none, or pixels outside [0, 256).
    """
    _check(config, images)
    channels = config.image_shape[-1]
    total, squares, count = np.zeros(channels), np.zeros((channels, channels)), 0
    bar = keras.utils.Progbar(len(images), unit_name="image")
    for batch in evaluation_batches(images, _BATCH):
        pixels = _logits(config, batch, 0.5).reshape(-1, channels)
        total += pixels.sum(axis=0)
        squares += pixels.T @ pixels
        count += len(pixels)
        bar.add(len(batch))
    mean = total / count
    return klt(squares / count - np.outer(mean, mean))


def sample_logits(
    config: FlowConfig, images: np.ndarray, rotation: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Some of `images` as they enter the flow, with noise, turned by `rotation` if one is given.

    Args:
        config: whose pixel transform and image shape are meant.
        images: the training set, `[N, H, W, C]`, at least one.
        rotation: `[C, C]`.
        seed: which images, and their noise.

    Returns:
        float64 `[n, H, W, C]`, n at most 800.

    Raises:
        DataError: images of another type or rank.
        FactorizationError: images of another shape, none, or pixels outside [0, 256).
    """
    _check(config, images)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(images))[:_MAX_SAMPLES])
    logits = _logits(config, images[chosen], rng.random((len(chosen), *config.image_shape)))
    return logits if rotation is None else logits @ np.asarray(rotation, np.float64).T


def _logits(config: FlowConfig, images, noise) -> np.ndarray:
    transform = PIXEL_TRANSFORMS[config.pixel_transform](config.alpha, config.image_shape)
    pixels = dequantize(tf.convert_to_tensor(images), tf.constant(noise, tf.float64), tf.float64)
    logits, terms = transform.inverse_and_terms(pixels)
    if not np.isfinite(
        terms.numpy()
    ).all():  # Of pixels that the transform does not take it is not.
        found = f"{np.min(images):g} to {np.max(images):g}"
        raise FactorizationError(f"`images` must hold pixels in [0, 256); got {found}.")
    return logits.numpy()


def _check(config: FlowConfig, images: np.ndarray) -> None:
    require_kind("config", config, FlowConfig)
    batch_spec(images)  # Refuses another type or rank.
    if images.shape[1:] != config.image_shape or not len(images):
        raise FactorizationError(
            f"`images` must have shape {('N', *config.image_shape)}, N at least 1; "
            f"got {images.shape}."
        )
