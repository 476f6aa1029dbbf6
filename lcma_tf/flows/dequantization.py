"""Where a config asks for it, the networks that draw the noise of pixels, and the bijector of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcma_tf.bijectors import VariationalDequantization
from lcma_tf.config import FlowConfig
from lcma_tf.networks import GlowConditioner

__all__ = ["dequantization_networks", "make_dequantization"]

_NUM_STEPS = 4  # Each pixel's noise is bent twice, once by what the other half has become.
_MAX_LOG_SCALE = 3.0


def dequantization_networks(
    config: FlowConfig, dtype: str, rematerialize: bool = False
) -> dict[str, GlowConditioner]:
    """New networks by name, as wide as those of the first level; none where noise is uniform.

    Args:
        config: of the flow whose images are dequantized.
        dtype, rematerialize: as of `lcma_tf.flows.FlowBuilder.make_networks`.
    """
    channels = config.image_shape[-1]
    return {
        name: GlowConditioner(
            in_channels=2 * channels,
            out_channels=channels,
            width=config.widths[0],
            max_log_scale=_MAX_LOG_SCALE,
            seed=[config.seed, index, 0, 1],  # Four numbers: no other network's.
            mixed_precision=config.mixed_precision,
            rematerialize=rematerialize,
            name=name,
            dtype=dtype,
        )
        for index, name in enumerate(_names(config))
    }


def make_dequantization(
    config: FlowConfig, networks: Mapping[str, Any]
) -> VariationalDequantization | None:
    """The bijector around `networks`, which may hold others, too; None where noise is uniform."""
    own = [networks[name] for name in _names(config)]
    return VariationalDequantization(own, config.image_shape) if own else None


def _names(config: FlowConfig) -> list[str]:
    steps = _NUM_STEPS if config.dequantization == "variational" else 0
    return [f"dequantization_{step}" for step in range(steps)]
