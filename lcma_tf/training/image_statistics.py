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
from lcma_tf.factorization.checks import check_seed
from lcma_tf.factorization.rotation import klt
from lcma_tf.factorization.whitening_fit import causal_moments, stable_predictor

__all__ = ["fit_channel_rotation", "fit_whitening", "sample_logits"]

_BATCH = 256
_MAX_SAMPLES = 800  # Covariances of 3x3 blocks, over all places: more changes no decision.
# Of a prediction: of 32x32 photographs 1 leaves 0.014 bits/dim more to a Gaussian, 3 has twice as many
# numbers for 0.02 less.
_REACH = 2
_MAX_PLACES = 5_000_000  # To fit a hundred numbers to.
_PLACES_AT_ONCE = 2**18


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

    These are those of the two rows above, two columns to either side, and two to the left, with all
    their channels, and the pixel's own channels before the one that is predicted. Fitted behind the
    pixel transform, with dequantization noise, to some five million places of images drawn from the set;
    what is left of a channel is put in units of its standard deviation there. Where the inverse of the
    best prediction would let errors grow, it is held back by a ridge, the least of several that do not.

    Args:
        config: whose pixel transform and image shape are meant.
        images: the training set, `[N, H, W, C]`, at least one.
        factorization: whose first rotation turns the colours before, if it has one; a whitening that it
            has is not read.
        seed: which images, and their noise.

    Raises:
        DataError: images of another type or rank.
        ConfigError: `config` or `factorization` is none.
        FactorizationError: images of another shape, none, or pixels outside 0..255; a factorization of
            other images; a seed below 0; or nothing is left of a channel.

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
    _check(config, images, factorization, seed)
    height, width, _ = config.image_shape
    chosen, rng = _chosen(images, max(_MAX_PLACES // (height * width), 1), seed)
    size = max(_PLACES_AT_ONCE // (height * width), 1)
    batches = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    state, places = rng.bit_generator.state, len(chosen) * height * width
    bar = keras.utils.Progbar(2 * len(chosen), unit_name="image")  # Each is looked at twice.

    def each():
        rng.bit_generator.state = state  # The same noise each time.
        for indices in batches:
            noise = rng.random((len(indices), *config.image_shape))
            yield _turned(_logits(config, images[indices], noise), factorization)
            bar.add(len(indices))

    mean = np.sum([logits.sum(axis=(0, 1, 2)) for logits in each()], axis=0) / places
    products = [causal_moments(logits - mean, _REACH) for logits in each()]
    moments = np.sum(products, axis=0) / places
    return stable_predictor(moments, mean, _REACH, (height, width))


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
    _check(config, images, factorization, seed)
    chosen, rng = _chosen(images, _MAX_SAMPLES, seed)
    noise = rng.random((len(chosen), *config.image_shape))
    logits = _turned(_logits(config, images[chosen], noise), factorization)
    if factorization is not None and factorization.whitening is not None:
        for index, image in enumerate(logits):  # One by one: of large ones all would not fit.
            logits[index] = factorization.whitening(image[np.newaxis])[0]
    return logits


def _chosen(images: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Indices of at most so many of `images`, in order, and what draws their noise."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.permutation(len(images))[:most]), rng


def _turned(logits: np.ndarray, factorization: Factorization | None) -> np.ndarray:
    rotation = None if factorization is None else factorization.rotation(0)
    return logits if rotation is None else logits @ rotation.astype(np.float64).T


def _logits(config: FlowConfig, images, noise) -> np.ndarray:
    transform = PIXEL_TRANSFORMS[config.pixel_transform](config.alpha, config.image_shape)
    pixels = dequantize(tf.convert_to_tensor(images), tf.constant(noise, tf.float64), tf.float64)
    return transform.inverse_and_terms(pixels)[0].numpy()


def _check(
    config: FlowConfig,
    images: np.ndarray,
    factorization: Factorization | None = None,
    seed: int = 0,
) -> None:
    require_kind("config", config, FlowConfig)
    batch_spec(images)  # Refuses another type or rank.
    shape = config.image_shape
    if images.shape[1:] != shape or not len(images):
        raise FactorizationError(
            f"`images` must have shape {('N', *shape)}, N at least 1; got {images.shape}."
        )
    low, high = (0, 255) if images.dtype == np.uint8 else (np.min(images), np.max(images))
    if not (low >= 0 and high <= 255):  # A NaN is neither.
        raise FactorizationError(
            f"`images` must hold pixels from 0 to 255; got {low:g} to {high:g}."
        )
    require_kind("factorization", factorization, Factorization, or_none=True)
    if factorization is not None and factorization.image_shape != shape:
        raise FactorizationError(
            f"`factorization` must be for images of {shape}; got one for {factorization.image_shape}."
        )
    check_seed(seed)
