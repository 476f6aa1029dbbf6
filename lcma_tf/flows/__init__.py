"""Kinds of flow: each builds, from a config and a factorization, networks and one bijector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from lcma_tf.bijectors import FlowLayer
from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization
from lcma_tf.flows.realnvp import RealNVPBuilder

__all__ = ["FLOWS", "Flow", "build_flow"]

FLOWS = {"realnvp": RealNVPBuilder}  # A new flow is one line here and one file beside this.


class Flow(NamedTuple):
    """What a builder makes: the networks to own, Keras layers if it made them, and what runs them."""

    networks: list[Any]
    bijector: FlowLayer


def build_flow(
    config: FlowConfig,
    factorization: Factorization,
    dtype: str,
    networks: Sequence[Any] | None = None,
    rematerialize: bool = False,
) -> Flow:
    """Builds the flow that `config` describes, with the splits of `factorization`.

    Around the `networks` given, in the order of another flow's of this config, or around new ones,
    which `rematerialize` in training what they compute or keep it.

    Raises:
        FactorizationError: it was made for another image shape or number of scales.
    """
    factorization.check_fits(config.image_shape, config.num_scales)
    builder = FLOWS[config.flow](config, factorization, dtype, networks, rematerialize)
    return Flow(list(builder.networks), builder.bijector)
