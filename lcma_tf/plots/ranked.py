"""A contact sheet of images beside the maps of what is unusual in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure
from lcma_tf.plots.images import as_images

__all__ = ["RankedImages", "save_ranked_images"]

_IN_A_ROW = 4  # Images; a map stands beside each.
_CELL = 1.25  # Inches, of an image and of a map.
_NAME_LENGTH = 26  # What of a caption has room.
# Percentile of the maps' sizes at which the colours end: few pixels would take them all.
_SHARE = 99.5


class RankedImages(NamedTuple):
    """A group of the sheet.

    Args:
        title: what they have in common.
        images: uint8 `[N, H, W, C]`, C 1 or 3, in order of rank.
        heat_maps: float32 `[N, H, W]`, nats; above 0 where an image is stranger than usual.
        captions: `N` pairs of a name and a score.
    """

    title: str
    images: np.ndarray
    heat_maps: np.ndarray
    captions: Sequence[tuple[str, str]]


def save_ranked_images(path: Path, groups: Sequence[RankedImages], score: str) -> None:
    """Draws groups of images, a map beside each: red where it is stranger than usual, blue where less.

    One scale of colours serves all maps, centred on 0.

    Args:
        path: the PNG file to write.
        groups: from top to bottom; at least one, none empty.
        score: what the captions' second parts are.

    Raises:
        ValueError: images, maps or captions of another number, type or shape.
    """
    groups = [_checked(group) for group in groups]
    rows = [math.ceil(len(group.images) / _IN_A_ROW) for group in groups]
    columns = min(_IN_A_ROW, max(len(group.images) for group in groups))
    shape = groups[0].images.shape
    size = np.percentile(np.abs(np.concatenate([g.heat_maps.ravel() for g in groups])), _SHARE)
    limit = max(float(size), 1e-6)
    cell = _CELL * shape[1] / shape[2] + 0.38
    figure = new_figure(2 * _CELL * columns + 1.4, cell * sum(rows) + 0.5 * len(groups) + 0.4)
    parts = figure.subfigures(len(groups), 1, height_ratios=rows, squeeze=False)[:, 0]
    drawn = None
    for group, count, part in zip(groups, rows, parts, strict=True):
        part.suptitle(group.title, fontsize=11)
        panels = part.subplots(count, 2 * columns, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        pairs = panels.reshape(count * columns, 2)
        for image, nats, (name, value), (left, right) in zip(
            group.images, group.heat_maps, group.captions, pairs, strict=False
        ):
            pixels = image if image.shape[-1] == 3 else image.repeat(3, axis=-1)
            left.imshow(pixels, interpolation="nearest")
            drawn = right.imshow(
                nats, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest"
            )
            for axes in (left, right):  # A frame, without which a white image has no edge.
                axes.set_axis_on()
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(linewidth=0.5, color="0.6")
            text = f"{_shortened(name)}\n{score} {value}"
            # A name may hold a dollar sign, which begins a formula.
            left.set_title(text, fontsize=7, loc="left", parse_math=False)
        bar = part.colorbar(drawn, ax=panels, shrink=min(1.0, 1.6 / count), extend="both")
        bar.set_label("nats less likely\nthan usual there", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    save_figure(figure, path)


def _checked(group: RankedImages) -> RankedImages:
    images, maps = as_images("images", group.images), np.asarray(group.heat_maps, np.float32)
    if maps.shape != images.shape[:3] or not np.isfinite(maps).all():
        raise ValueError(
            f"`heat_maps` must be finite and of shape {images.shape[:3]}, got shape {maps.shape}."
        )
    if len(group.captions) != len(images):
        raise ValueError(
            f"`captions` must be {len(images)}, one for each image, got {len(group.captions)}."
        )
    return group


def _shortened(name: str) -> str:
    """The end of a long name, which tells it from its neighbours."""
    return name if len(name) <= _NAME_LENGTH else f"...{name[3 - _NAME_LENGTH :]}"
