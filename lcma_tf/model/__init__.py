"""The trained object, and all of it that a `.keras` file names: the flow, its loss, its optimizer.

Keras finds a class of a file by the name that it is registered with, once its module is imported; a
file from before the modules had these places names this package as that of `FlowModel`.
"""

from lcma_tf.model.bits_per_dim import BitsPerDim, NegativeLogLikelihood, nats_to_bits_per_dim
from lcma_tf.model.density import ImageDensity
from lcma_tf.model.flow_model import (
    MODEL_FILE,
    FlowModel,
    ModelFileError,
    load,
    load_weights,
)
from lcma_tf.model.frozen_flow import FrozenFlow
from lcma_tf.model.fused_adam import FusedAdam

__all__ = [
    "MODEL_FILE",
    "BitsPerDim",
    "FlowModel",
    "FrozenFlow",
    "FusedAdam",
    "ImageDensity",
    "ModelFileError",
    "NegativeLogLikelihood",
    "load",
    "load_weights",
    "nats_to_bits_per_dim",
]
