"""The factorization as a picture: the paper's Figure 1, and where each dimension exits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure

__all__ = ["save_factorization"]

MAX_CHANNELS = 4  # Panels of one kind in a row; deeper scales have more channels than that.


def save_factorization(
    path: Path,
    contributions: Sequence[np.ndarray | None],
    factorization_masks: Sequence[np.ndarray],
    exit_scale: np.ndarray,
) -> None:
    """Draws what each dimension contributed and which stay, scale by scale, then all exits.

    Args:
        path: the PNG file to write.
        contributions: for each mask the mean accumulated log-det terms, nats, `[h, w, c]` in the
            coordinates of what is in the flow at that scale; None where the rule needs none.
        factorization_masks: bool arrays of the same shapes, True = goes on; empty for one scale.
        exit_scale: int `[H, W, C]` in data coordinates: the scale, 1 to K, where each exits.
    """
    masks = [np.asarray(mask) for mask in factorization_masks]
    terms = [None if term is None else np.asarray(term) for term in contributions]
    exit_scale = np.asarray(exit_scale)
    _check_factorization(terms, masks, exit_scale)

    figure = new_figure(*_factorization_size(terms, masks, exit_scale))
    bands = figure.subfigures(len(masks) + 1, 1, squeeze=False)[:, 0]
    for scale, (band, term, mask) in enumerate(zip(bands, terms, masks, strict=False), start=1):
        height, width, num_channels = mask.shape
        shown = min(num_channels, MAX_CHANNELS)
        which = f"the first {shown} of {num_channels}" if shown < num_channels else "all"
        size = f"{height} x {width} x {num_channels}"
        band.suptitle(f"Scale {scale}: {size} in the flow, {which} channels c", fontsize=10)
        _draw_scale(band, None if term is None else term[..., :shown], mask[..., :shown])
    _draw_exit_scale(bands[-1], exit_scale, num_scales=len(masks) + 1)
    save_figure(figure, path)


def _check_factorization(
    terms: Sequence[np.ndarray | None], masks: Sequence[np.ndarray], exit_scale: np.ndarray
) -> None:
    if exit_scale.ndim != 3 or not np.issubdtype(exit_scale.dtype, np.integer):
        raise ValueError(
            "`exit_scale` must be an int array [H, W, C], "
            f"received shape {exit_scale.shape}, dtype {exit_scale.dtype}."
        )
    last = len(masks) + 1
    if exit_scale.size == 0 or exit_scale.min() < 1 or exit_scale.max() > last:
        raise ValueError(f"`exit_scale` must hold scales 1 to {last} for {len(masks)} masks.")
    if len(terms) != len(masks):
        raise ValueError(
            "`contributions` must have one entry for each mask, "
            f"received {len(terms)} for {len(masks)} masks."
        )
    for scale, (term, mask) in enumerate(zip(terms, masks, strict=True), start=1):
        if mask.ndim != 3 or mask.dtype != bool or 0 in mask.shape:
            raise ValueError(
                f"`factorization_masks` must be bool arrays [h, w, c], received shape "
                f"{mask.shape}, dtype {mask.dtype} at scale {scale}."
            )
        if term is not None and term.shape != mask.shape:
            raise ValueError(
                f"`contributions` must have the shapes of the masks, received {term.shape} "
                f"for {mask.shape} at scale {scale}."
            )


def _factorization_size(
    terms: Sequence[np.ndarray | None], masks: Sequence[np.ndarray], exit_scale: np.ndarray
) -> tuple[float, float]:
    """Width and height in inches: panels 1.7 wide, as many as the widest scale has."""
    counts = [
        min(mask.shape[2], MAX_CHANNELS) * (1 if term is None else 2)
        for term, mask in zip(terms, masks, strict=True)
    ]
    height, width = exit_scale.shape[:2]
    panel = 1.7 * min(max(height / width, 0.4), 2.5)
    return max(1.7 * max(counts, default=1) + 1.3, 5.5), (len(masks) + 1) * (panel + 0.85)


def _draw_scale(band: Any, term: np.ndarray | None, mask: np.ndarray) -> None:
    """One scale: heat maps of the contribution on the left, kept and exited on the right."""
    shown = mask.shape[2]
    offset = 0 if term is None else shown
    panels = band.subplots(1, offset + shown, squeeze=False)[0]
    if term is not None:
        # Percentiles, since a few dimensions at the border would take the whole colour range.
        low, high = np.percentile(term, [1, 99])
        for channel, axes in enumerate(panels[:offset]):
            image = axes.imshow(term[..., channel], vmin=low, vmax=high, interpolation="nearest")
            axes.set_title(f"contribution, c {channel}", fontsize=8)
        bar = band.colorbar(image, ax=panels[:offset].tolist(), extend="both", pad=0.02)
        bar.set_label("mean accumulated\nlog-det (nats/dim)", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    for channel, axes in enumerate(panels[offset:]):
        # Black stays in the flow, white exits.
        axes.imshow(~mask[..., channel], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"kept (black), c {channel}", fontsize=8)
    for axes in panels:
        _small_ticks(axes)


def _draw_exit_scale(band: Any, exit_scale: np.ndarray, num_scales: int) -> None:
    """For each position of the image the scale at which its dimensions exit."""
    num_channels = exit_scale.shape[2]
    maps = [("mean over channels", exit_scale.mean(axis=2))]
    if 1 < num_channels <= MAX_CHANNELS:
        maps += [(f"channel {c}", exit_scale[..., c]) for c in range(num_channels)]
    panels = band.subplots(1, len(maps), squeeze=False)[0]
    for axes, (title, values) in zip(panels, maps, strict=True):
        image = axes.imshow(values, vmin=1, vmax=max(num_scales, 2), cmap="magma")
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("image column", fontsize=8)
        _small_ticks(axes)
    panels[0].set_ylabel("image row", fontsize=8)
    bar = band.colorbar(image, ax=panels.tolist(), ticks=range(1, num_scales + 1), panchor=False)
    bar.set_label("scale of exit", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    band.suptitle(f"Scale at which each dimension exits, of {num_scales}", fontsize=10)


def _small_ticks(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    axes.locator_params(integer=True, nbins=5)
