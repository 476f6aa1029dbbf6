"""The pictures of a study: bits/dim with its spread over seeds, learning curves, samples by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure

__all__ = ["save_ablation", "save_sample_grids"]

# One curve: `step` and `val_bits_per_dim`, one entry an epoch.
Curve = Mapping[str, np.ndarray]

_MARKERS = "osD^vP*X"  # One a seed; with more seeds than that they are not told apart.
_SETTLED_SHARE = 0.2  # The first steps of a training leave the panel: they dwarf what differs.


def save_ablation(
    path: Path,
    figures: Mapping[str, Mapping[int, float]],
    curves: Mapping[str, Sequence[Curve]],
    groups: Mapping[str, str],
) -> None:
    """Draws test bits/dim by arm, every seed with its own marker, and the validation curves.

    Args:
        path: the PNG file to write.
        figures: arm -> seed -> test bits/dim; an arm without a finished run is left out.
        curves: arm -> one curve a seed.
        groups: arm -> its split rule, which decides the colour; arms of one rule differ in style.

    Raises:
        ValueError: no arm has a finished run.
    """
    figures = {arm: by_seed for arm, by_seed in figures.items() if by_seed}
    if not figures:
        raise ValueError("`figures` must hold at least one finished run.")
    colors = {group: f"C{index}" for index, group in enumerate(dict.fromkeys(groups.values()))}
    figure = new_figure(12.5, max(3.6, 1.6 + 0.55 * len(figures)))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    _draw_figures(left, figures, {arm: colors[groups[arm]] for arm in figures})
    seen: set[str] = set()
    for arm in figures:
        if curves.get(arm):
            first_of_rule = groups[arm] not in seen
            seen.add(groups[arm])
            _draw_curves(
                right, arm, curves[arm], colors[groups[arm]], "-" if first_of_rule else "--"
            )
    _finish_curves(right, any(len(by_seed) > 1 for by_seed in figures.values()))
    save_figure(figure, path)


def save_sample_grids(
    path: Path, samples: Mapping[str, np.ndarray], title: str, columns: int = 6
) -> None:
    """Draws grids of samples side by side, each under its own title.

    Args:
        path: the PNG file to write.
        samples: title -> uint8 `[N, H, W, C]`, C = 1 or 3, N a multiple of `columns`.
        title: of the whole.
        columns: images in a row of a grid.

    Raises:
        ValueError: no samples, or some of another type or shape.
    """
    if not samples:
        raise ValueError("`samples` must hold at least one grid.")
    sheets = {name: _sheet(name, images, columns) for name, images in samples.items()}
    in_a_row = min(len(sheets), 4)
    rows = -(-len(sheets) // in_a_row)
    height, width = next(iter(sheets.values())).shape[:2]
    figure = new_figure(max(3.3 * in_a_row, 5.5), rows * (3.3 * height / width + 0.55))
    panels = figure.subplots(rows, in_a_row, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, (name, sheet) in zip(panels, sheets.items(), strict=False):
        axes.imshow(sheet, interpolation="nearest")
        axes.set_title(name, fontsize=9)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def _draw_figures(
    axes: Any, figures: Mapping[str, Mapping[int, float]], colors: Mapping[str, str]
) -> None:
    """One line an arm, the first on top; a thin line joins the runs of one seed."""
    seeds = sorted({seed for by_seed in figures.values() for seed in by_seed})
    for index, seed in enumerate(seeds):
        points = [
            (by_seed[seed], y) for y, by_seed in enumerate(figures.values()) if seed in by_seed
        ]
        x, y = zip(*points, strict=True)
        marker = _MARKERS[index] if len(seeds) <= len(_MARKERS) else _MARKERS[0]
        style = {"color": "0.8", "linewidth": 0.8, "marker": marker, "markersize": 5, "zorder": 2}
        style |= {"markerfacecolor": "white", "markeredgecolor": "0.35", "label": f"seed {seed}"}
        axes.plot(x, y, **style)
    if len(seeds) <= len(_MARKERS):
        axes.legend(fontsize=8, loc="best")
    for y, (arm, by_seed) in enumerate(figures.items()):
        values = np.array(list(by_seed.values()))
        spread = values.std(ddof=1) if len(values) > 1 else None
        style: dict[str, Any] = {"color": colors[arm], "capsize": 4, "zorder": 3}
        axes.errorbar(values.mean(), y, xerr=spread, marker="|", markersize=16, **style)
        text = f"{values.mean():.3f}"
        offset = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(text, (values.mean(), y), color=colors[arm], **offset)
    axes.set_yticks(range(len(figures)), list(figures), fontsize=9)
    axes.set_ylim(len(figures) - 0.5, -0.7)
    axes.set_xlabel("bits/dim on the test images (lower is better)")
    several = "mean ± standard deviation over seeds" if len(seeds) > 1 else "one run each"
    axes.set_title(f"Test: {several}", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.margins(x=0.12)


def _draw_curves(axes: Any, arm: str, curves: Sequence[Curve], color: str, linestyle: str) -> None:
    """Mean of the curves of one arm over seeds, and a band of one standard deviation."""
    length = min(len(curve["step"]) for curve in curves)
    step = np.asarray(curves[0]["step"])[:length]
    values = np.array([np.asarray(curve["val_bits_per_dim"], float)[:length] for curve in curves])
    mean = values.mean(axis=0)
    label = arm.replace("\n", ", ")
    style = {"color": color, "linestyle": linestyle, "marker": "o", "markersize": 3}
    axes.plot(step, mean, label=label, **style)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(step, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0)


def _finish_curves(axes: Any, has_bands: bool) -> None:
    lines = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]
    if lines:
        last = max(step[-1] for step, _ in lines)
        settled = [value[step >= min(_SETTLED_SHARE * last, step[-1])] for step, value in lines]
        values = np.concatenate(settled)
        values = values[np.isfinite(values)]
        if len(values):
            margin = 0.08 * np.ptp(values) + 0.005
            axes.set_ylim(values.min() - margin, values.max() + margin)
        axes.legend(fontsize=8)
    axes.set_xlabel("step of the training (pretraining not shown)")
    axes.set_ylabel("bits/dim on the validation images")
    over_seeds = (
        ": mean over seeds, band ± one standard deviation" if has_bands else ": one run each"
    )
    axes.set_title(f"Validation{over_seeds}", fontsize=10)
    axes.grid(alpha=0.3)


def _sheet(name: str, images: np.ndarray, columns: int) -> np.ndarray:
    """RGB `[rows * (H + 1), columns * (W + 1), 3]`, a white line between the images."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(
            f"`samples[{name!r}]` must be uint8 [N, H, W, C] with C = 1 or 3; "
            f"got {images.dtype} {list(images.shape)}."
        )
    if not len(images) or len(images) % columns:
        raise ValueError(
            f"`samples[{name!r}]` must be a multiple of {columns} images; got {len(images)}."
        )
    images = np.broadcast_to(images, (*images.shape[:3], 3))
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    _, height, width, _ = padded.shape
    grid = padded.reshape(-1, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    return grid.reshape(-1, columns * width, 3)
