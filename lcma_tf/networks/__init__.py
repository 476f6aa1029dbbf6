"""The Keras layers that a `FlowModel` owns: conditioners and moving moments."""

from lcma_tf.networks.conditioner import ResidualConditioner
from lcma_tf.networks.normalization import EPSILON, MovingMoments

__all__ = ["EPSILON", "MovingMoments", "ResidualConditioner"]
