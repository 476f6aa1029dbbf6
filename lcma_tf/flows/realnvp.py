"""RealNVP: from a config and a factorization to networks and one bijector.

The whole flow is one recursion. Level l is a flow layer, then a split whose kept half runs level l+1:

    level(l) = FlowLayer([3 checkerboard couplings, squeezed [3 channel couplings]],
                         LikelihoodContributionSplit(mask_l, inner=level(l + 1)))

and the last level is 4 checkerboard couplings. Without splits (rule `none`, the pretraining) all
dimensions go on, squeezed. Source: Dinh et al. 2016, section 3.6; Das et al. 2019, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lcma_tf.bijectors import (
    AffineCoupling,
    FlowLayer,
    ImageChain,
    InFlowBatchNorm,
    LikelihoodContributionSplit,
    Squeezed,
)
from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization, masks
from lcma_tf.networks import EPSILON, MovingMoments, ResidualConditioner

__all__ = ["RealNVPBuilder"]

Shape = tuple[int, ...]


class RealNVPBuilder:
    """Builds the networks and the bijector of one flow; `networks` and `bijector` are the result.

    Args:
        config, factorization, dtype: of the flow.
        networks: ready ones to build the bijector around, in the order in which they would be made.
        rematerialize: of new conditioners.
    """

    def __init__(
        self,
        config: FlowConfig,
        factorization: Factorization,
        dtype: str,
        networks: Sequence[Any] | None = None,
        rematerialize: bool = False,
    ):
        self._config = config
        self._factorization = factorization
        self._dtype = dtype
        self._rematerialize = rematerialize
        self._given = None if networks is None else iter(networks)
        self.networks: list[Any] = []
        self.bijector = self._level(0, config.image_shape)

    def _level(self, level: int, shape: Shape) -> FlowLayer:
        name = f"layer_{level + 1}"
        width = self._config.base_dim * 2**level
        if level == self._config.num_scales - 1:
            # Parities alternate; the first keeps i + j even.
            last = self._couplings(
                f"{name}_checkerboard",
                [masks.checkerboard(shape, keep_even=i % 2 == 0) for i in range(4)],
                width,
            )
            return FlowLayer(ImageChain(last, shape), None, shape, name=name)
        height, width_px, channels = shape
        squeezed = (height // 2, width_px // 2, 4 * channels)
        checkerboards = self._couplings(
            f"{name}_checkerboard",
            [masks.checkerboard(shape, keep_even=i % 2 == 0) for i in range(3)],
            width,
        )
        channel_couplings = self._couplings(
            f"{name}_channel",
            [masks.channel_half(squeezed, keep_first=i % 2 == 0) for i in range(3)],
            2 * width,
        )
        layer = ImageChain(
            [*checkerboards, Squeezed(ImageChain(channel_couplings, squeezed), shape)], shape
        )
        if self._factorization.rule == "none":
            rest = Squeezed(self._level(level + 1, squeezed), shape)
        else:
            kept = (height // 2, width_px // 2, 2 * channels)
            mask = self._factorization.masks[level]
            rest = LikelihoodContributionSplit(mask, inner=self._level(level + 1, kept))
        return FlowLayer(layer, rest, shape, name=name)

    def _couplings(self, name: str, coupling_masks: list[np.ndarray], width: int) -> list:
        """Couplings, each followed by its batch norm: the order of `inverse`, data to latents."""
        bijectors = []
        for index, mask in enumerate(coupling_masks):
            conditioner = self._network(self._conditioner, f"{name}_{index}", mask, width)
            moments = self._network(self._moments, f"{name}_{index}_moments", mask)
            bijectors += [
                AffineCoupling(mask, conditioner, name=f"{name}_{index}"),
                InFlowBatchNorm(
                    mask,
                    self._config.batch_norm_moments,
                    *moments.tf_variables,
                    epsilon=EPSILON,
                    name=f"{name}_{index}_norm",
                ),
            ]
        return bijectors

    def _network(self, make: Callable[..., Any], *arguments: Any) -> Any:
        network = make(*arguments) if self._given is None else next(self._given)
        self.networks.append(network)
        return network

    def _moments(self, name: str, mask: np.ndarray) -> MovingMoments:
        return MovingMoments(mask.shape[-1], name=name, dtype=self._dtype)

    def _conditioner(self, name: str, mask: np.ndarray, width: int) -> ResidualConditioner:
        channels = mask.shape[-1]
        by_channel = masks.selects_channels(mask)
        num_kept = int(np.count_nonzero(mask[0, 0]))
        return ResidualConditioner(
            in_channels=num_kept if by_channel else channels,
            out_channels=channels - num_kept if by_channel else channels,
            width=width,
            num_residual_blocks=self._config.num_residual_blocks,
            pixel_mask=None if by_channel else mask[..., :1],
            initial_scale=1.0 if by_channel else 0.0,
            magnitude_l2=self._config.weight_scale_l2,
            seed=[self._config.seed, len(self.networks)],
            mixed_precision=self._config.mixed_precision,
            rematerialize=self._rematerialize,
            name=name,
            dtype=self._dtype,
        )
