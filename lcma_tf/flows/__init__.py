"""Kinds of flow: each makes, of a config and a factorization, networks and one bijector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lcma_tf.bijectors import FlowLayer
from lcma_tf.choices import FLOWS
from lcma_tf.config import FlowConfig, require_kind
from lcma_tf.factorization import Factorization

__all__ = ["FlowBuilder", "flow_builder"]


class FlowBuilder(Protocol):
    """One flow, to be built: what an entry of `lcma_tf.choices.FLOWS` makes of its two arguments.

    Its networks are made once and handed to the bijector by name: new ones, those that Keras has
    loaded, or what their method `frozen(mixed_precision: bool)` returns, a `tf.Module` of the same
    function in inference mode with the weights of now.

    A network whose attribute `moves_moments` is False has no moving averages, as batch norms have: where
    that is so of all, nothing is recalibrated.

    Args:
        config: what the flow is.
        factorization: what leaves it where; it fits the config.
    """

    def __init__(self, config: FlowConfig, factorization: Factorization): ...

    def make_networks(self, dtype: str, rematerialize: bool = False) -> dict[str, Any]:
        """New Keras layers, built, by name; a `.keras` file has them in this order.

        Args:
            dtype: of their weights, `float32` or `float64`.
            rematerialize: compute what is inside them anew in the backward pass, if they can.
        """
        ...

    def make_bijector(self, networks: Mapping[str, Any]) -> FlowLayer:
        """The bijector around `networks`, of events `config.image_shape`.

        Flow layers are nested `config.num_scales` deep: they are what contributions are kept apart by.
        """
        ...


def flow_builder(config: FlowConfig, factorization: Factorization) -> FlowBuilder:
    """What builds the flow that `config` describes, with the splits of `factorization`.

    Raises:
        FactorizationError: it was made for another image shape or number of scales.
    """
    require_kind("config", config, FlowConfig)
    require_kind("factorization", factorization, Factorization)
    factorization.check_fits(config.image_shape, config.num_scales)
    return FLOWS[config.flow](config, factorization)
