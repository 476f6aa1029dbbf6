"""The trained object, and all of it that a `.keras` file names: the flow, its loss, its optimizer.

Keras finds the classes of a file by the names that they are registered with, which have no module in
them, once what defines them is imported: here, so that whoever has a `FlowModel` has them all.
"""

from lcma_tf.model.bits_per_dim import BitsPerDim, NegativeLogLikelihood, nats_to_bits_per_dim
from lcma_tf.model.density import ImageDensity
from lcma_tf.model.files import MODEL_FILE, ModelFileError, load, load_weights
from lcma_tf.model.flow_model import FlowModel
from lcma_tf.model.frozen_flow import FrozenFlow
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.model.fused_muon import FusedMuon
from lcma_tf.model.recalibration import recalibrate

__all__ = [
    "MODEL_FILE",
    "BitsPerDim",
    "FlowModel",
    "FrozenFlow",
    "FusedAdam",
    "FusedMuon",
    "ImageDensity",
    "ModelFileError",
    "NegativeLogLikelihood",
    "load",
    "load_weights",
    "nats_to_bits_per_dim",
    "recalibrate",
]
