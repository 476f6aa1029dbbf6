"""`FrozenFlow`: a flow for inference alone, all that does not depend on the image folded away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization
from lcma_tf.flows import flow_builder
from lcma_tf.flows.dequantization import make_dequantization
from lcma_tf.model.density import ImageDensity
from lcma_tf.model.passes import FlowPasses

__all__ = ["FrozenFlow"]


class FrozenFlow(tf.Module, ImageDensity):
    """The scores, samples and latents of a `FlowModel`, without what training needs.

    Weight normalization, batch norms and masks are computed once, here, instead of in every call; the
    results are those of the model up to rounding. A snapshot: weights that the model takes on later do
    not show. Made by `FlowModel.frozen`; it tracks no Keras object, only its own variables.

    Args:
        config, factorization, dtype: of the flow.
        networks: the model's, by the names that its builder gave them.
        mixed_precision: convolutions and feature maps inside the conditioners in bfloat16. For speed on
            hardware made for it: a score moves in its third digit, and `decode(encode(x))` is x only
            nearly, as a rounding of float32 on the way back can tip one of bfloat16.
        batch_invariant: one image at a time, whatever the batch: what an image gives then has the same
            bits in every batch on one machine, where otherwise its last digits differ. Slower; the price
            is in docs/performance.md. `distribution` is left as it is.
        pieces: into how many a batch is cut that are computed at once; None = as many as suit the
            threads that TensorFlow has in this process (`lcma_tf.model.pieces`).

    Raises:
        ValueError: less than one piece.
    """

    def __init__(
        self,
        config: FlowConfig,
        factorization: Factorization,
        dtype: str,
        networks: Mapping[str, Any],
        *,
        mixed_precision: bool = False,
        batch_invariant: bool = False,
        pieces: int | None = None,
    ):
        super().__init__(name="frozen_flow")
        self.networks = {name: net.frozen(mixed_precision) for name, net in networks.items()}
        bijector = flow_builder(config, factorization).make_bijector(self.networks)
        dequantization = make_dequantization(config, self.networks)
        options = {"batch_invariant": batch_invariant, "pieces": pieces}
        self.ask(FlowPasses(config, bijector, dtype, dequantization, **options))
