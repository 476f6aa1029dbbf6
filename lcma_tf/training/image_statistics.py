"""What images say by themselves, as they enter a flow: rotation of colours, whitening, and samples.

All look at pixels behind the pixel transform, in float64, and are functions of config, images and a
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
from lcma_tf.factorization import Factorization, FactorizationError, Whitening
from lcma_tf.factorization.rotation import klt
from lcma_tf.factorization.whitening import causal_offsets

__all__ = ["fit_channel_rotation", "fit_whitening", "sample_logits"]

_BATCH = 256
_MAX_SAMPLES = 800  # Covariances of 3x3 blocks, over all places: more changes no decision.
_REACH = 2  # To a Gaussian of 32x32 photographs 3 is worth 0.02 bits/dim more, and 1 costs 0.014.
_MAX_FITTED = 5_000  # Images of a thousand pixels and more, for a hundred numbers.


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
        FactorizationError: images of another shape, none, or pixels outside 0..255.
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


def fit_whitening(
    config: FlowConfig,
    images: np.ndarray,
    factorization: Factorization | None = None,
    seed: int = 0,
) -> Whitening:
    """The least-squares prediction of a pixel by the 12 neighbours before it in raster order.

    These are the two rows above, two columns to either side, and two pixels to the left, with all their
    channels, and the pixel's own channels before the one that is predicted. Fitted behind the pixel
    transform, with dequantization noise, to all places of at most 5,000 of the images; what is left of
    a channel is put in units of its standard deviation there.

    Args:
        config: whose pixel transform and image shape are meant.
        images: the training set, `[N, H, W, C]`, at least one.
        factorization: whose first rotation turns the colours before, if it has one.
        seed: which images, and their noise.

    Raises:
        DataError: images of another type or rank.
        FactorizationError: images of another shape, none, pixels outside 0..255, or nothing is left of
            a channel.

    Example:
        ```python
        import dataclasses

        import numpy as np

        import lcma_tf

        images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
        config = lcma_tf.FlowConfig(
            image_shape=(8, 8, 1), num_scales=1, base_dim=4, num_residual_blocks=1
        )
        decided = lcma_tf.Factorization("none", image_shape=(8, 8, 1))
        whitening = lcma_tf.fit_whitening(config, images)
        model = lcma_tf.FlowModel(config, dataclasses.replace(decided, whitening=whitening))
        ```
    """
    _check(config, images)
    channels = config.image_shape[-1]
    chosen, rng = _chosen(images, _MAX_FITTED, seed)
    batches = [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]
    total, count = np.zeros(channels), 0
    size = (len(causal_offsets(_REACH)) + 1) * channels
    moments = np.zeros((size, size))
    bar = keras.utils.Progbar(2 * len(chosen), unit_name="image")
    state = rng.bit_generator.state
    for has_mean in (False, True):
        rng.bit_generator.state = state  # The same noise again.
        for indices in batches:
            noise = rng.random((len(indices), *config.image_shape))
            logits = _turned(_logits(config, images[indices], noise), factorization)
            if has_mean:
                moments += _causal_moments(logits - total / count)
            else:
                total += logits.sum(axis=(0, 1, 2))
                count += logits.size // channels
            bar.add(len(indices))
    return Whitening.of_moments(moments / count, total / count, _REACH)


def sample_logits(
    config: FlowConfig,
    images: np.ndarray,
    factorization: Factorization | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Some of `images` as they enter the first level of a flow, with noise.

    Args:
        config: whose pixel transform and image shape are meant.
        images: the training set, `[N, H, W, C]`, at least one.
        factorization: whose first rotation turns and whose whitening whitens them, if it has one.
        seed: which images, and their noise.

    Returns:
        float64 `[n, H, W, C]`, n at most 800.

    Raises:
        DataError: images of another type or rank.
        FactorizationError: images of another shape, none, or pixels outside 0..255.
    """
    _check(config, images)
    chosen, rng = _chosen(images, _MAX_SAMPLES, seed)
    noise = rng.random((len(chosen), *config.image_shape))
    logits = _turned(_logits(config, images[chosen], noise), factorization)
    whitening = None if factorization is None else factorization.whitening
    return logits if whitening is None else whitening(logits)


def _chosen(images: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Indices of at most so many of `images`, in order, and what draws their noise."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(len(images))[:most]), rng


def _turned(logits: np.ndarray, factorization: Factorization | None) -> np.ndarray:
    rotation = None if factorization is None else factorization.rotation(0)
    return logits if rotation is None else logits @ rotation.astype(np.float64).T


def _causal_moments(images: np.ndarray) -> np.ndarray:
    """Sums over all places of `[n, h, w, c]` of products: of each pixel's causal neighbours and its own.

    Beyond the border every pixel is 0.
    """
    _, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (_REACH, 0), (_REACH, _REACH), (0, 0)))
    columns = [
        padded[:, _REACH + row :, _REACH + column :][:, :height, :width]
        for row, column in (*causal_offsets(_REACH), (0, 0))
    ]
    known = np.concatenate(columns, axis=-1).reshape(-1, len(columns) * channels)
    return known.T @ known


def _logits(config: FlowConfig, images, noise) -> np.ndarray:
    transform = PIXEL_TRANSFORMS[config.pixel_transform](config.alpha, config.image_shape)
    pixels = dequantize(tf.convert_to_tensor(images), tf.constant(noise, tf.float64), tf.float64)
    logits, terms = transform.inverse_and_terms(pixels)
    if not np.isfinite(
        terms.numpy()
    ).all():  # Of pixels that the transform does not take it is not.
        found = f"{np.min(images):g} to {np.max(images):g}"
        raise FactorizationError(f"`images` must hold pixels from 0 to 255; got {found}.")
    return logits.numpy()


def _check(config: FlowConfig, images: np.ndarray) -> None:
    require_kind("config", config, FlowConfig)
    batch_spec(images)  # Refuses another type or rank.
    if images.shape[1:] != config.image_shape or not len(images):
        raise FactorizationError(
            f"`images` must have shape {('N', *config.image_shape)}, N at least 1; "
            f"got {images.shape}."
        )
