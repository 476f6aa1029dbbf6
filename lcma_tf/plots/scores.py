"""Distributions of scores: a panel a score, in it a row for each set of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure

__all__ = ["save_score_distributions"]

_COLUMNS, _BINS = 3, 80
_BEYOND = 1.5  # Of the width of the normal images' values: so far a panel goes to either side.
_MARGIN = 1.15  # Rows that touch would be taken for one.


def save_score_distributions(
    path: Path,
    values: Mapping[str, Mapping[str, np.ndarray]],
    notes: Mapping[str, Mapping[str, str]] | None = None,
    titles: Mapping[str, str] | None = None,
    noted: str = "",
) -> None:
    """Draws how each score is distributed over each set; every row is scaled to its own highest bin.

    Sets may lie so far apart that all normal images were one line: a panel ends a width and a half of
    the normal values beyond them, and what is beyond that is drawn in the bin at the edge.

    Args:
        path: the PNG file to write.
        values: set -> score -> `[N]`, numbers or bools; the first set is that of normal images.
        notes: set -> score -> a few characters at the end of its row, such as a figure.
        titles: score -> what it is, with its unit.
        noted: what the notes are.

    Raises:
        ValueError: no set, or sets of different scores.
    """
    if not values:
        raise ValueError("`values` must hold at least one set of images.")
    sets = list(values)
    scores = list(values[sets[0]])
    for name in sets:
        if list(values[name]) != scores:
            raise ValueError(
                f"`values[{name!r}]` must hold the scores {', '.join(scores)}; "
                f"got {', '.join(values[name])}."
            )
    columns = min(_COLUMNS, len(scores))
    rows = -(-len(scores) // columns)
    figure = new_figure(5.0 * columns, rows * (1.0 + 0.36 * len(sets)) + 0.5)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.ravel()[len(scores) :]:
        axes.set_axis_off()
    for index, (axes, score) in enumerate(zip(panels.ravel(), scores, strict=False)):
        own = {name: np.asarray(values[name][score], np.float64) for name in sets}
        _draw_panel(axes, own, {name: (notes or {}).get(name, {}).get(score, "") for name in sets})
        axes.set_title(score, fontsize=10)
        axes.set_xlabel((titles or {}).get(score, ""), fontsize=8)
        axes.set_yticks([-_MARGIN * row for row in range(len(sets))])
        axes.set_yticklabels(sets if index % columns == 0 else [], fontsize=8)
    text = (
        "Each row is scaled to its own highest bin. Grey: the middle 90 % of the normal images. "
        "Bins at the edges hold all beyond."
    )
    figure.suptitle(f"{text} At the right: {noted}." if noted else text, fontsize=9)
    save_figure(figure, path)


def _draw_panel(axes: Any, values: Mapping[str, np.ndarray], notes: Mapping[str, str]) -> None:
    edges = _edges(list(values.values()))
    normal = next(iter(values.values()))
    middle = (
        np.percentile(normal[np.isfinite(normal)], [5, 95]) if np.isfinite(normal).any() else ()
    )
    if len(middle):
        axes.axvspan(*np.clip(middle, edges[0], edges[-1]), color="0.9", linewidth=0)
    for row, (name, column) in enumerate(values.items()):
        column = np.clip(column[~np.isnan(column)], edges[0], edges[-1])
        counts = np.histogram(column, edges)[0]
        base = -_MARGIN * row
        heights = base + counts / max(counts.max(), 1)
        color = "0.35" if row == 0 else f"C{(row - 1) % 10}"
        axes.stairs(heights, edges, baseline=base, fill=True, color=color, alpha=0.75)
        axes.axhline(base, color="0.6", linewidth=0.5)
        style = {"fontsize": 7, "va": "bottom", "clip_on": False}
        axes.text(1.01, base, notes[name], transform=axes.get_yaxis_transform(), **style)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-_MARGIN * (len(values) - 1) - 0.1, 1.1)
    axes.tick_params(axis="x", labelsize=7)


def _edges(columns: list[np.ndarray]) -> np.ndarray:
    """The edges of the bins that all sets of a panel share."""
    every = np.concatenate(columns)
    every, normal = every[np.isfinite(every)], columns[0][np.isfinite(columns[0])]
    if not len(normal):
        return np.linspace(0.0, 1.0, _BINS + 1)
    low, high = np.percentile(normal, [0.5, 99.5])
    room = _BEYOND * max(high - low, 1e-6 * (1 + abs(low)))
    low, high = max(low - room, every.min()), min(high + room, every.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1)
