"""Images come back from their latents whole, and extreme ones have finite scores, whatever the flow.

Flows of random weights: no training has taught them to be tame. `--long_faults` takes every kind of flow
with every rule, and 10,000 images each.
"""

import itertools

import numpy as np
import pytest

from lcma_tf import SPLIT_RULES
from testing import random_images, tiny_flow

SIDE, CHANNELS = 8, (1, 3, 4)
TRANSFORMS, MOMENTS = ("two_sided", "one_sided"), ("changed", "all")
KINDS = tuple(itertools.product(CHANNELS, TRANSFORMS, MOMENTS))


def extreme_images(channels):
    """Black, white, checkerboards, stripes, single pixels, noise of two values: uint8 `[N, H, W, C]`."""
    shape = (SIDE, SIDE, channels)
    row, column = np.indices((SIDE, SIDE))[..., None]
    planes = [(row + column) % 2, row % 2, column % 2, row < SIDE // 2, (row == 3) & (column == 4)]
    images = [np.broadcast_to(255 * plane, shape) for plane in planes]
    for channel in (0, channels - 1):
        corner = np.zeros(shape)
        corner[0, 0, channel] = 255
        images.append(corner)
    images.append(255 * np.random.default_rng(3).integers(0, 2, shape))
    images = np.array([np.zeros(shape), *images])
    return np.concatenate([images, 255 - images]).astype(np.uint8)


def some(values, index, at_length):
    """One of them, another for each index; or all."""
    return at_length([values[index % len(values)]], values)


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_every_image_comes_back_and_the_extreme_ones_have_finite_scores(rule, at_length):
    index = 5 * SPLIT_RULES.index(rule)  # 5 and 12 have no factor in common: other kinds for each.
    for channels, pixel_transform, batch_norm_moments in some(KINDS, index, at_length):
        model = tiny_flow(
            rule,
            num_couplings=3,
            image_shape=(SIDE, SIDE, channels),
            pixel_transform=pixel_transform,
            batch_norm_moments=batch_norm_moments,
        )
        extreme = extreme_images(channels)
        images = random_images(at_length(500, 10_000), extreme.shape[1:])
        for flow in (model, model.frozen())[-at_length(1, 2) :]:
            for batch in (extreme, *np.split(images, len(images) // 250)):
                np.testing.assert_array_equal(flow.decode(flow.encode(batch)), batch)
            assert np.isfinite(flow.log_prob(extreme)).all()
