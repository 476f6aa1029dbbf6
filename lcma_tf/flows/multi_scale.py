"""What flows of several scales have in common: one recursion over levels, each a layer and a split.

    level(l) = FlowLayer([rotation of the channels,] [whitening, before the first level,]
                         the level's own bijectors, [conditional exit,]
                         LikelihoodContributionSplit(mask_l, inner=level(l + 1)))

Without splits (rule `none`, the pretraining) all dimensions go on, squeezed. Source: Dinh et al. 2016,
section 3.6; Das et al. 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_probability as tfp

from lcma_tf.bijectors import (
    CausalWhitening,
    ChannelRotation,
    ConditionalExit,
    FlowLayer,
    ImageChain,
    LikelihoodContributionSplit,
    Squeezed,
)
from lcma_tf.choices import COUPLINGS
from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization
from lcma_tf.networks import ExitConditioner, ResidualConditioner

__all__ = ["MultiScaleBuilder", "Shape", "squeezed_shape"]

Shape = tuple[int, ...]


class MultiScaleBuilder:
    """A `lcma_tf.flows.FlowBuilder` but for what a level consists of.

    A subclass defines `make_networks`, which puts `exit_networks` last, and `level_bijectors` for the
    level of an index.

    Args:
        config, factorization: of the flow.

    Attributes:
        shapes: `(h, w, c)` of what enters each level, the data's first.
        widths: of the conditioners of each level; a subclass may have others.
        coupling: what its couplings are, an entry of `lcma_tf.choices.COUPLINGS`.
    """

    def __init__(self, config: FlowConfig, factorization: Factorization):
        self._config = config
        self._factorization = factorization
        self.shapes = factorization.level_shapes(config.num_scales)
        self.widths = config.widths
        self.coupling = COUPLINGS[config.coupling]

    def exit_networks(
        self, dtype: str, rematerialize: bool = False
    ) -> dict[str, ExitConditioner | ResidualConditioner]:
        """New networks by name, one for each level with conditional exits; none where exits are N(0, 1).

        Args:
            dtype, rematerialize: as of `make_networks`.
        """
        return {
            _exit_name(index): self._exit_network(index, dtype, rematerialize)
            for index in range(len(self.shapes))
            if self._has_conditional_exit(index)
        }

    def _exit_network(
        self, index: int, dtype: str, rematerialize: bool
    ) -> ExitConditioner | ResidualConditioner:
        channels, name, config = 2 * self.shapes[index][-1], _exit_name(index), self._config
        if config.exit_prior == "conditional":
            return ExitConditioner(channels, name=name, dtype=dtype)
        return ResidualConditioner(
            in_channels=channels,
            out_channels=channels,
            width=self.widths[index],
            num_residual_blocks=config.blocks[index],
            initial_scale=0.0,  # It begins with the deviation 1.
            magnitude_l2=config.weight_scale_l2,
            seed=[config.seed, index, 1],  # Three numbers: no coupling's, which have two.
            mixed_precision=config.mixed_precision,
            rematerialize=rematerialize,
            name=name,
            dtype=dtype,
        )

    def make_bijector(self, networks: Mapping[str, Any]) -> FlowLayer:
        """The bijector around `networks`, of events `config.image_shape`."""
        return self._level(0, networks)

    def level_bijectors(
        self, index: int, networks: Mapping[str, Any]
    ) -> Sequence[tfp.bijectors.Bijector]:
        """The bijectors of level `index`, from 0, over events `shapes[index]`: data to latents."""
        raise NotImplementedError

    def _level(self, index: int, networks: Mapping[str, Any]) -> FlowLayer:
        """The flow from level `index` on."""
        shape, name = self.shapes[index], f"layer_{index + 1}"
        exits = []
        if self._has_conditional_exit(index):
            mask, network = self._factorization.masks[index], networks[_exit_name(index)]
            exits = [ConditionalExit(mask, network, name=_exit_name(index))]
        fixed = self._fixed(index, shape)
        layer = ImageChain([*fixed, *self.level_bijectors(index, networks), *exits], shape)
        if index == len(self.shapes) - 1:
            return FlowLayer(layer, None, shape, name=name)
        later = self._level(index + 1, networks)
        if self._factorization.rule == "none":
            rest = Squeezed(later, shape)
        else:
            rest = LikelihoodContributionSplit(self._factorization.masks[index], inner=later)
        return FlowLayer(layer, rest, shape, name=name)

    def _fixed(self, index: int, shape: Shape) -> list[tfp.bijectors.Bijector]:
        """What was decided of the images that enter level `index`, before any of its own bijectors."""
        rotation, whitening = self._factorization.rotation(index), self._factorization.whitening
        fixed = [] if rotation is None else [ChannelRotation(rotation)]
        if index == 0 and whitening is not None:
            fixed.append(CausalWhitening(whitening, shape))
        return fixed

    def _has_conditional_exit(self, index: int) -> bool:
        exits = index < len(self._factorization.masks)
        return exits and self._config.exit_prior != "standard"


def _exit_name(index: int) -> str:
    return f"layer_{index + 1}_exit"


def squeezed_shape(shape: Shape) -> Shape:
    """`(h, w, c)` -> `(h/2, w/2, 4c)`."""
    height, width, channels = shape
    return height // 2, width // 2, 4 * channels
