"""The pictures that a finished run leaves in its workdir."""

from __future__ import annotations

from typing import Any

import numpy as np

from lcma_tf import plots
from lcma_tf.callbacks import read_history
from lcma_tf.contribution import load_contributions
from lcma_tf.data import ImageData
from lcma_tf.masks import gather_kept
from lcma_tf.model import FlowModel
from lcma_tf.workdir import Workdir

__all__ = ["draw_run"]

_NUM_SAMPLES = 64
_NUM_PATHS = 6


def draw_run(model: FlowModel, data: ImageData, workdir: Workdir, metrics: dict[str, Any]) -> None:
    """Draws samples, interpolation, reconstruction, factorization and training curves."""
    seed = metrics["seed"]
    curves = {
        name: _curves(workdir, name)
        for name in ("pretrain", "train")
        if read_history(workdir.phase(name) / "history.csv")
    }
    references = {
        f"{codec.upper()} on the test images": metrics[f"{codec}_bits_per_dim"]
        for codec in ("png", "webp")
        if metrics[f"{codec}_bits_per_dim"] is not None
    }
    plots.save_training_curves(workdir.path / "training.png", curves, references)
    _draw_factorization(model, workdir)
    if data.image_shape[-1] not in (1, 3):
        return  # Nothing that a picture file could show.
    count = min(_NUM_SAMPLES, len(data.test))
    samples = model.sample(count, seed).numpy()
    plots.save_samples(workdir.path / "samples.png", samples, data.test[:count])
    order = np.random.default_rng(seed).permutation(len(data.test))
    paths = min(_NUM_PATHS, len(order) // 2)
    if paths:
        starts, ends = data.test[order[:paths]], data.test[order[-paths:]]
        between = model.interpolate(starts, ends, steps=9).numpy()
        plots.save_interpolation(workdir.path / "interpolation.png", between)
    originals = data.test[order[:10]]
    reconstructions = model.decode(model.encode(originals)).numpy()
    plots.save_reconstruction(workdir.path / "reconstruction.png", originals, reconstructions)


def _draw_factorization(model: FlowModel, workdir: Workdir) -> None:
    masks = model.factorization.masks
    contributions: list[np.ndarray | None] = [None] * len(masks)
    if workdir.contributions.exists():
        layers = load_contributions(workdir.contributions)
        for scale in range(len(masks)):
            layer = layers[scale]
            for mask in masks[:scale]:  # Into the coordinates of what is still in the flow.
                layer = gather_kept(layer, mask)
            contributions[scale] = layer
    plots.save_factorization(
        workdir.path / "factorization.png",
        contributions,
        masks,
        model.factorization.exit_scale(),
    )


def _curves(workdir: Workdir, phase: str) -> dict[str, np.ndarray]:
    rows = read_history(workdir.phase(phase) / "history.csv")
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    _, config = workdir.read_configs()
    steps = config.pretrain_steps if phase == "pretrain" else config.train_steps
    per_epoch = min(config.steps_per_epoch, steps)
    return {"step": np.minimum((columns["epoch"] + 1) * per_epoch, steps), **columns}
