"""The Keras layers that a `FlowModel` owns: conditioners and moving moments."""

from lcma_tf.networks.conditioner import ResidualConditioner
from lcma_tf.networks.exit_conditioner import ExitConditioner, FrozenExitConditioner
from lcma_tf.networks.folding import FrozenConditioner
from lcma_tf.networks.moving_moments import FrozenMoments, MovingMoments
from lcma_tf.networks.normalization import EPSILON

__all__ = [
    "EPSILON",
    "ExitConditioner",
    "FrozenConditioner",
    "FrozenExitConditioner",
    "FrozenMoments",
    "MovingMoments",
    "ResidualConditioner",
]
