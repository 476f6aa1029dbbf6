"""The size of the paper's configs, to the exact number that the constants of the design give."""

import numpy as np
import pytest

from lcma_tf import FlowConfig, FlowModel
from testing import tiny_config, tiny_factorization, without_values


def num_parameters(in_channels, out_channels, width, blocks, mask_channels):
    """Trainable numbers of one conditioner, term by term as the design lists its layers."""
    first = in_channels + 9 * (2 * in_channels + mask_channels) * width + width
    block = 2 * width + 2 * 9 * width**2 + width + width  # Betas, kernels, magnitude, bias.
    skip = width**2 + width + width
    last = width + width * 2 * out_channels + 2 * (2 * out_channels)
    return 1 + first + blocks * block + (blocks + 1) * skip + last


def expected_parameters(config):
    total, channels, couplings = 0, config.image_shape[-1], config.num_couplings
    widths = config.level_widths or [config.base_dim * 2**i for i in range(config.num_scales)]
    blocks = config.level_blocks or [config.num_residual_blocks] * config.num_scales
    for width, blocks_here in zip(widths[:-1], blocks[:-1], strict=True):
        total += couplings * num_parameters(channels, channels, width, blocks_here, 1)
        total += couplings * num_parameters(2 * channels, 2 * channels, 2 * width, blocks_here, 0)
        channels = 2 * channels
    return total + (couplings + 1) * num_parameters(channels, channels, widths[-1], blocks[-1], 1)


PAPER = {
    "cifar10": (FlowConfig(), 19_609_545),
    "imagenet32": (FlowConfig((32, 32, 3), "realnvp", 4, 32, 4), 46_220_359),
    "imagenet64": (FlowConfig((64, 64, 3), "realnvp", 5, 32, 2), 96_363_237),
    "by level": (
        tiny_config(
            image_shape=(4, 8, 1), num_scales=3, level_widths=(5, 3, 2), level_blocks=(1, 3, 2)
        ),
        None,
    ),
    "tiny": (tiny_config(image_shape=(4, 8, 1), num_scales=3), None),
}


@pytest.mark.parametrize(("config", "number"), PAPER.values(), ids=PAPER.keys())
def test_the_number_of_parameters(config, number):
    assert number in (None, expected_parameters(config))
    factorization = tiny_factorization("realnvp", config.image_shape, config.num_scales)
    with without_values():
        model = FlowModel(config, factorization)
    found = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert found == expected_parameters(config)
