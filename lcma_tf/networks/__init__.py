"""The Keras layers that a `FlowModel` owns: conditioners and moving moments."""

from lcma_tf.networks.conditioner import ResidualConditioner
from lcma_tf.networks.folding import FrozenConditioner, FrozenMoments, freeze
from lcma_tf.networks.normalization import EPSILON, MovingMoments

__all__ = [
    "EPSILON",
    "FrozenConditioner",
    "FrozenMoments",
    "MovingMoments",
    "ResidualConditioner",
    "freeze",
]
