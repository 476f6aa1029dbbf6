"""The split that leaves least dependence among what exits, to second order: from covariances alone.

Exits are independent Gaussians given nothing but the couplings before them, so that a flow pays for the
dependence left among them given what stays. With Gaussian data and one pattern of a 2x2 block for each
channel, per block,

    cost = 1/2 (sum log diag S - log det S),     S = covariance of E given K   (nats)

where E are the dimensions of a block that exit and K those that stay in the 3x3 blocks around it.
"""

from __future__ import annotations

import itertools

import numpy as np

from lcma_tf.factorization.order import blocks, from_blocks
from lcma_tf.factorization.rules import SplitRule

__all__ = ["DEPENDENCE", "block_covariance", "dependence_cost"]

# Which two corners of a 2x2 block go on, in raster order; the first is the static rule's.
_PATTERNS = tuple(
    np.isin(np.arange(4), corners) for corners in ((0, 3), (1, 2), (0, 1), (2, 3), (0, 2), (1, 3))
)
_MAX_EXHAUSTIVE = 3  # Channels: 6**3 = 216 masks are all tried; with more, one channel at a time.
_MAX_SWEEPS = 20


def block_covariance(images: np.ndarray) -> np.ndarray:
    """Covariance of all dimensions of the 2x2 blocks around a place, and of the block there itself.

    Args:
        images: float `[n, h, w, c]`, h and w even.

    Returns:
        float64 `[9, 4c, 9, 4c]`: 3x3 neighbouring blocks in raster order, the middle one the fifth, and
        within a block by channel, then corner; averaged over images and places. Where there are less
        than three blocks in a row or a column, `[1, 4c, 1, 4c]`: the block alone.
    """
    in_blocks = np.stack([blocks(image) for image in images])
    num_images, rows, columns = in_blocks.shape[:3]
    in_blocks = in_blocks.reshape(num_images, rows, columns, -1)
    reach = 3 if min(rows, columns) >= 3 else 1
    inside = rows - reach + 1, columns - reach + 1
    features = np.concatenate(
        [
            in_blocks[:, top : top + inside[0], left : left + inside[1]]
            for top, left in itertools.product(range(reach), repeat=2)
        ],
        axis=-1,
    ).reshape(-1, reach**2 * in_blocks.shape[-1])
    features = features - features.mean(axis=0)
    size = in_blocks.shape[-1]
    covariance = features.T @ features / len(features)
    return covariance.reshape(reach**2, size, reach**2, size)


def dependence_cost(covariance: np.ndarray, kept: np.ndarray) -> float:
    """What a split costs, in nats a block: 0 if what exits is independent given what stays.

    Args:
        covariance: of `block_covariance`.
        kept: bool `[4c]`: which dimensions of every block go on.
    """
    num_blocks, size = covariance.shape[:2]
    flat = covariance.reshape(num_blocks * size, -1)
    # Less than any noise of dequantization, so that constant pixels do no harm, one or all.
    flat = flat + (1e-9 * np.trace(flat) / len(flat) or 1.0) * np.eye(len(flat))
    stays = np.flatnonzero(np.tile(kept, num_blocks))
    exits = num_blocks // 2 * size + np.flatnonzero(~kept)
    across = flat[np.ix_(stays, exits)]
    explained = across.T @ np.linalg.solve(flat[np.ix_(stays, stays)], across)
    rest = flat[np.ix_(exits, exits)] - explained
    return 0.5 * float(np.log(np.diag(rest)).sum() - np.linalg.slogdet(rest)[1])


def _dependence(logits, shape, rng):
    """One pattern for each channel, the cheapest: all of them tried, or one channel after the other."""
    covariance, channels = block_covariance(logits), shape[-1]

    def cost(chosen):
        return dependence_cost(covariance, np.concatenate([_PATTERNS[i] for i in chosen]))

    if channels <= _MAX_EXHAUSTIVE:
        best = min(itertools.product(range(len(_PATTERNS)), repeat=channels), key=cost)
    else:
        best = _descent(cost, channels)
    kept = np.stack([_PATTERNS[i] for i in best])
    height, width, _ = shape
    return from_blocks(np.broadcast_to(kept, (height // 2, width // 2, channels, 4)))


def _descent(cost, channels: int) -> tuple[int, ...]:
    """From the static rule on, channel by channel, until none can be bettered alone."""
    best = [0] * channels
    lowest = cost(best)
    for _ in range(_MAX_SWEEPS):
        before = list(best)
        for channel, pattern in itertools.product(range(channels), range(len(_PATTERNS))):
            tried = [*best[:channel], pattern, *best[channel + 1 :]]
            if (found := cost(tried)) < lowest:
                best, lowest = tried, found
        if best == before:
            break
    return tuple(best)


DEPENDENCE = SplitRule(
    "of each channel the two corners that leave least dependence among what exits, from covariances "
    "of the images",
    _dependence,
    "logits",
)
