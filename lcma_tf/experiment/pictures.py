"""The pictures that a finished run leaves in its workdir."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lcma_tf import plots
from lcma_tf.choices import RULES
from lcma_tf.data import ImageData
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization, evidence_of
from lcma_tf.factorization.order import gather_kept
from lcma_tf.files.saving import written_whole
from lcma_tf.model.density import ImageDensity
from lcma_tf.training.contributions import load_contributions
from lcma_tf.training.history import FACTORIZED

__all__ = ["LAST", "draw_run"]

LAST = "training.png"  # Drawn last: where it is, the others are.

_NUM_SAMPLES = 64
_NUM_PATHS = 6


def draw_run(
    flow: ImageDensity,
    factorization: Factorization,
    data: ImageData,
    workdir: Workdir,
    metrics: dict[str, Any],
) -> None:
    """Draws samples, interpolation, reconstruction, factorization and training curves."""
    if data.image_shape[-1] in (1, 3):  # What a picture file can show.
        _draw_images(flow, data.test, workdir, metrics["seed"])
    _draw_factorization(factorization, workdir)
    curves, factorized_at = _curves(workdir), workdir.read_configs()[1].factorize_at_step
    references = {
        f"{name} on the test images": metrics[f"{codec}_bits_per_dim"]
        for codec, name in (("png", "PNG"), ("webp", "WebP"))
        if metrics[f"{codec}_bits_per_dim"] is not None
    }
    _save(plots.save_training_curves, workdir, LAST, curves, references, factorized_at)


def _curves(workdir: Workdir) -> dict[str, dict[str, np.ndarray]]:
    """The histories of the phases by name; of one run its parts, before and after the split."""
    curves = {name: workdir.curves(name) for name in ("pretrain", "train")}
    train = curves["train"]
    if FACTORIZED in train:
        is_after = train[FACTORIZED] > 0
        parts = {"pretrain": ~is_after, "train": is_after}
        curves = {
            part: {name: column[rows] for name, column in train.items()}
            for part, rows in parts.items()
            if rows.any()
        }
    return {name: columns for name, columns in curves.items() if columns}


def _save(save: Callable[..., None], workdir: Workdir, name: str, *content: Any) -> None:
    with written_whole(workdir.path / name) as temporary:
        save(temporary, *content)


def _draw_images(flow: ImageDensity, images: np.ndarray, workdir: Workdir, seed: int) -> None:
    count = min(_NUM_SAMPLES, len(images))
    samples = flow.sample(count, seed).numpy()
    _save(plots.save_samples, workdir, "samples.png", samples, _in_8_bits(images[:count]))
    order = np.random.default_rng(seed).permutation(len(images))
    paths = min(_NUM_PATHS, len(order) // 2)
    if paths:
        starts, ends = images[order[:paths]], images[order[-paths:]]
        between = flow.interpolate(starts, ends, steps=9).numpy()
        _save(plots.save_interpolation, workdir, "interpolation.png", between)
    originals = images[order[:10]]
    reconstructions = flow.decode(flow.encode(originals)).numpy()
    pairs = _in_8_bits(originals), reconstructions
    _save(plots.save_reconstruction, workdir, "reconstruction.png", *pairs)


def _in_8_bits(images: np.ndarray) -> np.ndarray:
    """Pictures to look at: real-valued pixels become the nearest of the 256 levels."""
    return images if images.dtype == np.uint8 else np.rint(images).astype(np.uint8)


def _reads_contributions(rule: str) -> bool:
    # One that is gone may have read them.
    return rule not in RULES or evidence_of(rule) == "contributions"


def _draw_factorization(factorization: Factorization, workdir: Workdir) -> None:
    masks = factorization.masks
    contributions: list[np.ndarray | None] = [None] * len(masks)
    if workdir.contributions.exists() and _reads_contributions(factorization.rule):
        layers = load_contributions(workdir.contributions)
        for scale in range(len(masks)):
            # Into the coordinates of what is still in the flow.
            contributions[scale] = functools.reduce(gather_kept, masks[:scale], layers[scale])
    draw = functools.partial(
        plots.save_factorization,
        rotation=factorization.rotation(0),
        whitens=factorization.whitening is not None,
    )
    drawn = contributions, masks, factorization.exit_scale(), factorization.rule
    _save(draw, workdir, "factorization.png", *drawn)
