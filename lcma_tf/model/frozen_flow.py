"""`FrozenFlow`: a flow for inference alone, all that does not depend on the image folded away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization
from lcma_tf.flows import build_flow
from lcma_tf.model.density import ImageDensity
from lcma_tf.networks import freeze

__all__ = ["FrozenFlow"]


class FrozenFlow(tf.Module, ImageDensity):
    """The scores, samples and latents of a `FlowModel`, without what training needs.

    Weight normalization, batch norms and masks are computed once, here, instead of in every call; the
    results are those of the model up to rounding. A snapshot: weights that the model takes on later do
    not show. Made by `FlowModel.frozen`; it tracks no Keras object, only its own variables.

    Args:
        config, factorization, dtype: of the flow.
        networks: the model's, in the order of its builder.
        mixed_precision: convolutions and feature maps inside the conditioners in bfloat16. For speed on
            hardware made for it: a score moves in its third digit, and `decode(encode(x))` is x only
            nearly, as a rounding of float32 on the way back can tip one of bfloat16.
        batch_invariant: one image at a time, whatever the batch: what an image gives then has the same
            bits in every batch on one machine, where otherwise its last digits differ. Slower; the price
            is in docs/performance.md. `distribution` is left as it is.
    """

    def __init__(
        self,
        config: FlowConfig,
        factorization: Factorization,
        dtype: str,
        networks: Sequence[Any],
        mixed_precision: bool = False,
        batch_invariant: bool = False,
    ):
        super().__init__(name="frozen_flow")
        self.networks = [freeze(network, mixed_precision) for network in networks]
        flow = build_flow(config, factorization, dtype, self.networks)
        self.set_flow(config, flow.bijector, dtype, batch_invariant)
