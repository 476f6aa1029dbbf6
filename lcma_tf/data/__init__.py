"""Image data: sets by name, batches by step, and what image codecs need for the same pixels."""

from lcma_tf.data.codecs import codec_bits_per_dim
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.loading import load, load_for_scoring
from lcma_tf.data.one_split import OneSplit
from lcma_tf.data.padding import without_padding
from lcma_tf.data.pipeline import (
    check_training_batches,
    evaluation_batches,
    gather_images,
    training_batches,
)
from lcma_tf.data.splits import IN_MEMORY, from_array

__all__ = [
    "IN_MEMORY",
    "DataError",
    "ImageData",
    "OneSplit",
    "check_training_batches",
    "codec_bits_per_dim",
    "evaluation_batches",
    "from_array",
    "gather_images",
    "load",
    "load_for_scoring",
    "training_batches",
    "without_padding",
]
