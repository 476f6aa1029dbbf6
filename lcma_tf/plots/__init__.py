"""Pictures: NumPy arrays in, one PNG file out. matplotlib is imported when the first one is drawn."""

from lcma_tf.plots.curves import save_training_curves
from lcma_tf.plots.factorization import save_factorization
from lcma_tf.plots.figure import require_matplotlib
from lcma_tf.plots.images import (
    save_image_grid,
    save_interpolation,
    save_reconstruction,
    save_samples,
    save_temperatures,
)
from lcma_tf.plots.ranked import RankedImages, save_ranked_images
from lcma_tf.plots.scores import save_score_distributions

__all__ = [
    "RankedImages",
    "require_matplotlib",
    "save_factorization",
    "save_image_grid",
    "save_interpolation",
    "save_ranked_images",
    "save_reconstruction",
    "save_samples",
    "save_score_distributions",
    "save_temperatures",
    "save_training_curves",
]
