"""RealNVP: in a level three checkerboard couplings, then three channel couplings, squeezed.

The last level is four checkerboard couplings; `FlowConfig` has other numbers and masks. What levels have
to do with one another is in `multi_scale`. Source: Dinh et al. 2016, section 3.6; Das et al. 2019,
section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lcma_tf.bijectors import ImageChain, InFlowBatchNorm, Squeezed
from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization, masks
from lcma_tf.flows.multi_scale import MultiScaleBuilder, Shape, squeezed_shape
from lcma_tf.networks import EPSILON, MovingMoments, ResidualConditioner

__all__ = ["RealNVPBuilder"]


class Coupling(NamedTuple):
    """A coupling and the batch norm after it: the names of both, what it keeps, its network's size."""

    name: str
    mask: np.ndarray
    width: int
    num_blocks: int

    @property
    def moments(self) -> str:
        """The name of what the batch norm has."""
        return f"{self.name}_moments"


class Level(NamedTuple):
    """The couplings of a flow layer on images of `shape`; the last layer has none over channels.

    Those that are called checkerboards have other masks where the config says so.
    """

    shape: Shape
    checkerboards: list[Coupling]
    channels: list[Coupling]


class RealNVPBuilder(MultiScaleBuilder):
    """The RealNVP that a config describes, a `lcma_tf.flows.FlowBuilder`.

    Each coupling has two networks: a conditioner by its name, such as `layer_1_checkerboard_0`, and the
    moments of its batch norm, `layer_1_checkerboard_0_moments`.

    Args:
        config, factorization: of the flow.

    Attributes:
        masks: what the coupling keeps that a network belongs to, by its name; of the event `[h, w, c]`
            of its level, squeezed or not.
    """

    def __init__(self, config: FlowConfig, factorization: Factorization):
        super().__init__(config, factorization)
        self._levels = list(_levels(config, factorization, self.shapes))
        self.masks = {
            name: coupling.mask
            for level in self._levels
            for coupling in (*level.checkerboards, *level.channels)
            for name in (coupling.name, coupling.moments)
        }

    def make_networks(self, dtype: str, rematerialize: bool = False) -> dict[str, Any]:
        networks: dict[str, Any] = {}
        for level in self._levels:
            for coupling in (*level.checkerboards, *level.channels):
                networks[coupling.name] = _conditioner(
                    coupling,
                    self._config,
                    len(networks),
                    num_parameters=self.coupling.num_parameters,
                    dtype=dtype,
                    rematerialize=rematerialize,
                )
                networks[coupling.moments] = MovingMoments(
                    coupling.mask.shape[-1], name=coupling.moments, dtype=dtype
                )
        return {**networks, **self.exit_networks(dtype, rematerialize)}

    def level_bijectors(self, index: int, networks: Mapping[str, Any]) -> list:
        shape, checkerboards, channels = self._levels[index]
        bijectors = self._bijectors(checkerboards, networks)
        if channels:
            squeezed = ImageChain(self._bijectors(channels, networks), squeezed_shape(shape))
            bijectors.append(Squeezed(squeezed, shape))
        return bijectors

    def _bijectors(self, couplings: Sequence[Coupling], networks: Mapping[str, Any]) -> list:
        """Each coupling and its batch norm: the order of `inverse`, data to latents."""
        bijectors = []
        for coupling in couplings:
            mask, moments = coupling.mask, networks[coupling.moments]
            bijectors += [
                self.coupling(mask, networks[coupling.name], name=coupling.name),
                InFlowBatchNorm(
                    mask,
                    self._config.batch_norm_moments,
                    *moments.tf_variables,
                    epsilon=EPSILON,
                    name=f"{coupling.name}_norm",
                ),
            ]
        return bijectors


def _levels(
    config: FlowConfig, factorization: Factorization, shapes: Sequence[Shape]
) -> Iterator[Level]:
    """From the data on, by what enters each level."""
    for index, shape in enumerate(shapes):
        width, blocks, name = config.widths[index], config.blocks[index], f"layer_{index + 1}"
        is_last = index == config.num_scales - 1
        number, squeezed = config.num_couplings, squeezed_shape(shape)
        first = masks.checkerboard(shape, keep_even=config.coupling_masks != "swapped")
        if config.coupling_masks == "aligned" and index < len(factorization.masks):
            first = factorization.masks[index]
        # What one keeps the next one changes.
        checkerboards = [~first if i % 2 else first for i in range(number + is_last)]
        channels = [
            masks.channel_half(squeezed, i % 2 == 0) for i in range(0 if is_last else number)
        ]
        yield Level(
            shape,
            [
                Coupling(f"{name}_checkerboard_{i}", mask, width, blocks)
                for i, mask in enumerate(checkerboards)
            ],
            [
                Coupling(f"{name}_channel_{i}", mask, 2 * width, blocks)
                for i, mask in enumerate(channels)
            ],
        )


def _conditioner(
    coupling: Coupling, config: FlowConfig, index: int, **options: Any
) -> ResidualConditioner:
    """The conditioner of a coupling, number `index` among all networks."""
    mask = coupling.mask
    channels = mask.shape[-1]
    by_channel = masks.selects_channels(mask)
    num_kept = int(np.count_nonzero(mask[0, 0]))
    # One channel says all where it is the same in each.
    pixel_mask = mask[..., :1] if (mask == mask[..., :1]).all() else mask
    return ResidualConditioner(
        in_channels=num_kept if by_channel else channels,
        out_channels=channels - num_kept if by_channel else channels,
        width=coupling.width,
        num_residual_blocks=coupling.num_blocks,
        pixel_mask=None if by_channel else pixel_mask,
        initial_scale=1.0 if by_channel else 0.0,
        magnitude_l2=config.weight_scale_l2,
        seed=[config.seed, index],
        mixed_precision=config.mixed_precision,
        name=coupling.name,
        **options,
    )
