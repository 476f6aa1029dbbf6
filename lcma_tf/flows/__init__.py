"""Kinds of flow: each builds, from a config and a factorization, networks and one bijector."""

from __future__ import annotations

from typing import NamedTuple

import keras

from lcma_tf.bijectors import FlowLayer
from lcma_tf.config import FlowConfig
from lcma_tf.factorization import Factorization
from lcma_tf.flows.realnvp import RealNVPBuilder

__all__ = ["FLOWS", "Flow", "build_flow"]

FLOWS = {"realnvp": RealNVPBuilder}  # A new flow is one line here and one file beside this.


class Flow(NamedTuple):
    """What a builder makes: the Keras layers to own, and the bijector that runs them."""

    networks: list[keras.layers.Layer]
    bijector: FlowLayer


def build_flow(config: FlowConfig, factorization: Factorization, dtype: str) -> Flow:
    """Builds the flow that `config` describes, with the splits of `factorization`.

    Raises:
        FactorizationError: it was made for another image shape or number of scales.
    """
    factorization.check_fits(config.image_shape, config.num_scales)
    builder = FLOWS[config.flow](config, factorization, dtype)
    return Flow(list(builder.networks), builder.bijector)
