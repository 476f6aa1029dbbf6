"""A folder that is a finished run with a calibration, made without a training."""

from __future__ import annotations

import numpy as np

import lcma_tf
from lcma_tf import TrainConfig
from lcma_tf.experiment.workdir import Workdir
from testing import tiny_flow

__all__ = ["SHAPE", "make_scored_run", "smooth_images"]

SHAPE = (8, 8, 3)


def smooth_images(count, shape=SHAPE, seed=0):
    """Uint8 images `[count, *shape]`, each around a colour of its own."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 200, (count, 1, 1, shape[-1]))
    return (colour + rng.integers(0, 56, (count, *shape))).astype(np.uint8)


def make_scored_run(path, **changes):
    """A run in the folder `path`: a small flow of random weights, and how it scores smooth images."""
    model = tiny_flow(**{"image_shape": SHAPE, "num_scales": 1, **changes})
    workdir = Workdir(path)
    workdir.claim(model.config, TrainConfig(dataset="npz:none.npz"))
    model.save(workdir.model)
    images = smooth_images(128, model.config.image_shape, seed=1)
    lcma_tf.calibrate(model, images, verbose=False).save(workdir.calibration)
    return path
