"""Glow: steps of act norm, 1x1 convolution and coupling on the squeezed image of each level.

What levels have to do with one another is in `multi_scale`. Source: Kingma & Dhariwal 2018, section 3
and figure 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow_probability as tfp

from lcma_tf.bijectors import ActNorm, ImageChain, InvertibleConv, Squeezed
from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization, masks
from lcma_tf.flows.multi_scale import MultiScaleBuilder, Shape, squeezed_shape
from lcma_tf.networks import ActNormWeights, GlowConditioner, LUMatrix

__all__ = ["GlowBuilder"]


class Step(NamedTuple):
    """A step of flow over squeezed images of `shape`: names of its networks, their width."""

    name: str
    shape: Shape
    width: int

    @property
    def norm(self) -> str:
        return f"{self.name}_norm"

    @property
    def mix(self) -> str:
        return f"{self.name}_mix"

    @property
    def coupling(self) -> str:
        return f"{self.name}_coupling"


class GlowBuilder(MultiScaleBuilder):
    """The Glow that a config describes, a `lcma_tf.flows.FlowBuilder`.

    A level squeezes, runs `num_steps_per_scale` steps (the paper's K) and puts the pixels back, so that
    the split behind it, by whatever rule, speaks of places and channels of the image; the paper's own
    split takes half of the squeezed channels. The last level is squeezed, too. All conditioners are
    `base_dim` wide, as in the paper, whatever the level, unless `level_widths` says otherwise.

    Each step has three networks: `layer_1_step_0_norm`, `layer_1_step_0_mix` and
    `layer_1_step_0_coupling`.

    Args:
        config, factorization: of the flow.
    """

    def __init__(self, config: FlowConfig, factorization: Factorization):
        super().__init__(config, factorization)
        self.widths = config.level_widths or (config.base_dim,) * config.num_scales
        self._levels = [
            [
                Step(f"layer_{level}_step_{i}", squeezed_shape(shape), width)
                for i in range(config.num_steps_per_scale)
            ]
            for level, (shape, width) in enumerate(
                zip(self.shapes, self.widths, strict=True), start=1
            )
        ]

    def make_networks(self, dtype: str, rematerialize: bool = False) -> dict[str, Any]:
        return {
            **dict(self._networks(dtype, rematerialize)),
            **self.exit_networks(dtype, rematerialize),
        }

    def level_bijectors(
        self, index: int, networks: Mapping[str, Any]
    ) -> Sequence[tfp.bijectors.Bijector]:
        steps = self._levels[index]
        parts = [part for step in steps for part in self._bijectors(step, networks)]
        return [Squeezed(ImageChain(parts, steps[0].shape), self.shapes[index])]

    def _networks(self, dtype: str, rematerialize: bool) -> Iterator[tuple[str, Any]]:
        config, number = self._config, 0
        for step in (step for steps in self._levels for step in steps):
            channels = step.shape[-1]
            yield step.norm, ActNormWeights(channels, name=step.norm, dtype=dtype)
            # The seeds are apart: one for each network that draws.
            matrix = LUMatrix(channels, seed=[config.seed, number], name=step.mix, dtype=dtype)
            yield step.mix, matrix
            yield (
                step.coupling,
                GlowConditioner(
                    in_channels=channels // 2,
                    out_channels=channels // 2,
                    width=step.width,
                    seed=[config.seed, number + 1],
                    mixed_precision=config.mixed_precision,
                    rematerialize=rematerialize,
                    num_parameters=self.coupling.num_parameters,
                    name=step.coupling,
                    dtype=dtype,
                ),
            )
            number += 2

    def _bijectors(self, step: Step, networks: Mapping[str, Any]) -> list[tfp.bijectors.Bijector]:
        """A step's three, in the order of `inverse`, data to latents."""
        # Always the same half: the convolution before it has mixed all channels.
        half = masks.channel_half(step.shape)
        return [
            ActNorm(step.shape, *networks[step.norm].tf_variables, name=step.norm),
            InvertibleConv(networks[step.mix], step.shape, name=step.mix),
            self.coupling(half, networks[step.coupling], name=step.coupling),
        ]
