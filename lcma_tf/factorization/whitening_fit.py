"""The fit of a whitening: linear prediction by least squares, and as stable as its inverse must be."""

from __future__ import annotations

import numpy as np

from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.factorization.whitening import Whitening, causal_offsets, causal_views

__all__ = ["causal_moments", "predictor", "stable_predictor"]

# What is added to the variances of what a pixel is predicted from: the least of these that is stable.
_RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Images that the inverse makes of white noise vary as the data do, if it is stable; by how much more is
# still taken, and how many are made.
_MOST_SPREAD, _NUM_DRAWN = 4.0, 4


def causal_moments(images: np.ndarray, reach: int) -> np.ndarray:
    """Sums over all places of `[n, h, w, c]` of products of a pixel's neighbours and its own channels.

    Beyond the border every pixel is 0.

    Returns:
        `[k, k]`: the channels of each neighbour, in the order of `causal_offsets`, then the pixel's.
    """
    known = np.concatenate([*causal_views(images, reach).values()], axis=-1)
    known = known.reshape(-1, known.shape[-1])
    return known.T @ known


def stable_predictor(
    moments: np.ndarray, mean: np.ndarray, reach: int, shape: tuple[int, int]
) -> Whitening:
    """As `predictor`, with the least ridge with which images of height and width `shape` come back.

    The best prediction of a pixel need not have a stable inverse: of waves that run mostly along the
    columns its errors grow from row to row. Whether they do is tried on white noise.

    Raises:
        FactorizationError: as `predictor`.
    """
    channels = len(mean)
    noise = np.random.default_rng(0).normal(size=(_NUM_DRAWN, *shape, channels))
    spread = np.sqrt(np.diag(moments)[-channels:])
    for ridge in _RIDGES:
        whitening = predictor(moments, mean, reach, ridge)
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = whitening.inverse(noise).std(axis=(0, 2))  # By row: the last may be the worst.
        if (drawn <= _MOST_SPREAD * spread).all():  # A NaN is not.
            break
    return whitening


def predictor(moments: np.ndarray, mean: np.ndarray, reach: int, ridge: float = 0.0) -> Whitening:
    """The whitening that predicts best, by second moments, with a residual of variance 1.

    Args:
        moments: `[k, k]`, mean products of what belongs to a pixel (`causal_moments`), less the mean.
        mean: `[c]`.
        reach: r.
        ridge: share of its variance that is added to that of everything that is predicted from.

    Raises:
        FactorizationError: a channel is wholly said by the others, so that nothing is left of it.
    """
    channels, offsets = len(mean), causal_offsets(reach)
    kernel = np.zeros((reach + 1, 2 * reach + 1, channels, channels))
    first = len(offsets) * channels
    for channel in range(channels):
        known, own = slice(0, first + channel), first + channel
        among, with_own = moments[known, known], moments[known, own]
        # The least of several, where neighbours say the same as one another.
        ridged = among + ridge * np.diag(np.diag(among))
        weights = np.linalg.lstsq(ridged, with_own, rcond=1e-12)[0]
        variance = moments[own, own] - 2 * weights @ with_own + weights @ among @ weights
        if not variance > 1e-9 * max(moments[own, own], 1e-9):  # A NaN is not.
            raise FactorizationError(
                "`images` must differ from what their pixels' neighbours say, so that there is "
                f"something to whiten; nothing is left of channel {channel}."
            )
        deviation = np.sqrt(variance)
        for place, (row, column) in enumerate(offsets):
            taken = weights[place * channels : (place + 1) * channels]
            kernel[row + reach, column + reach, :, channel] = -taken / deviation
        kernel[reach, reach, :channel, channel] = -weights[first:] / deviation
        kernel[reach, reach, channel, channel] = 1 / deviation
    return Whitening(kernel, mean)
