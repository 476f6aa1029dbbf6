"""The Keras layers that a `FlowModel` owns: conditioners, and the weights of bijectors."""

from lcma_tf.networks.act_norm_weights import ActNormWeights, FrozenActNormWeights
from lcma_tf.networks.conditioner import ResidualConditioner
from lcma_tf.networks.exit_conditioner import ExitConditioner, FrozenExitConditioner
from lcma_tf.networks.folding import FrozenConditioner
from lcma_tf.networks.glow_conditioner import FrozenGlowConditioner, GlowConditioner
from lcma_tf.networks.lu_matrix import FrozenMatrix, LUMatrix
from lcma_tf.networks.moving_moments import FrozenMoments, MovingMoments
from lcma_tf.networks.normalization import EPSILON

__all__ = [
    "EPSILON",
    "ActNormWeights",
    "ExitConditioner",
    "FrozenActNormWeights",
    "FrozenConditioner",
    "FrozenExitConditioner",
    "FrozenGlowConditioner",
    "FrozenMatrix",
    "FrozenMoments",
    "GlowConditioner",
    "LUMatrix",
    "MovingMoments",
    "ResidualConditioner",
]
