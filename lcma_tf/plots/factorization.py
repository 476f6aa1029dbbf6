"""Charts of what a run measured: the factorization (the paper's Figure 1) and training curves.

Figures are made through matplotlib's object interface: no display and no global state is needed,
and matplotlib is imported when the first figure is made. `images.py` draws what is made of images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]
Curves = Mapping[str, Mapping[str, np.ndarray]]

MAX_CHANNELS = 4  # Panels of one kind in a row; deeper scales have more channels than that.
LINE_STYLES = ("-", "--", ":", "-.")
WARM_UP_SHARE = 0.05  # The first steps of a phase may leave the panel: they dwarf all others.


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG file, whatever the name's ending."""
    figure.savefig(path, format="png", facecolor="white")


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


def save_training_curves(
    path: Path, curves: Curves, references: Mapping[str, float] | None = None
) -> None:
    """Draws bits/dim against the step and, where recorded, the parts that sum to it.

    Args:
        path: the PNG file to write.
        curves: phase -> column -> array, one entry a record. Columns: `step`, `bits_per_dim`,
            `val_bits_per_dim` (NaN where not measured), all in bits/dim; and optionally the parts
            `latent`, `layer_1` ..., `pixel`.
        references: horizontal lines by name, such as the bits/dim of PNG.
    """
    parts = _check_curves(curves)
    figure = new_figure(12.0 if parts else 7.0, 4.6)
    panels = figure.subplots(1, 2 if parts else 1, squeeze=False)[0]
    _draw_totals(panels[0], curves, references or {})
    if parts:
        _draw_parts(panels[1], curves, parts)
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


def _check_curves(curves: Curves) -> list[str]:
    """Refuses ragged or missing columns; returns the names of the recorded parts in order."""
    if not curves:
        raise ValueError("`curves` must hold at least one phase.")
    layers: set[int] = set()
    others: set[str] = set()
    for phase, columns in curves.items():
        missing = {"step", "bits_per_dim", "val_bits_per_dim"} - set(columns)
        if missing:
            raise ValueError(f"`curves[{phase!r}]` lacks the columns {sorted(missing)}.")
        shapes = {name: np.shape(column) for name, column in columns.items()}
        if len(set(shapes.values())) > 1 or len(shapes["step"]) != 1 or shapes["step"] == (0,):
            raise ValueError(
                f"`curves[{phase!r}]` must hold columns of one length, received shapes {shapes}."
            )
        layers |= {int(name[6:]) for name in columns if name.startswith("layer_")}
        others |= {"latent", "pixel"} & set(columns)
    parts = ["latent", *(f"layer_{layer}" for layer in sorted(layers)), "pixel"]
    return [part for part in parts if part in others or part.startswith("layer_")]


def _plot(axes: Any, columns: Mapping[str, np.ndarray], name: str, **style: Any) -> None:
    """One column against the step, left out where it is not finite."""
    step, value = np.asarray(columns["step"]), np.asarray(columns[name], dtype=float)
    measured = np.isfinite(value)
    axes.plot(step[measured], value[measured], **style)


def _draw_totals(axes: Any, curves: Curves, references: Mapping[str, float]) -> None:
    settled = list(references.values())
    for index, (phase, columns) in enumerate(curves.items()):
        color = f"C{index}"
        _plot(axes, columns, "bits_per_dim", color=color, alpha=0.45, label=f"{phase}, training")
        style: dict[str, Any] = {"color": color, "marker": "o", "markersize": 3}
        _plot(axes, columns, "val_bits_per_dim", label=f"{phase}, validation", **style)
        late = np.asarray(columns["step"]) >= WARM_UP_SHARE * np.max(columns["step"])
        for name in ("bits_per_dim", "val_bits_per_dim"):
            values = np.asarray(columns[name], dtype=float)[late]
            settled += values[np.isfinite(values)].tolist()
    for index, (name, value) in enumerate(references.items()):
        label = f"{name}: {value:.3f}"
        axes.axhline(value, color="0.3", linewidth=1, linestyle=LINE_STYLES[1 + index % 3])
        axes.lines[-1].set_label(label)
    axes.set_title("Bits per dimension")
    if settled:
        margin = 0.05 * (max(settled) - min(settled)) + 0.02
        axes.set_ylim(min(settled) - margin, max(settled) + margin)
        axes.set_title("Bits per dimension (the first steps may be cut off)")
    axes.set(xlabel="step of the phase", ylabel="bits/dim")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _draw_parts(axes: Any, curves: Curves, parts: Sequence[str]) -> None:
    """Colour says the part, line style the phase."""
    for phase_index, (phase, columns) in enumerate(curves.items()):
        linestyle = LINE_STYLES[phase_index % len(LINE_STYLES)]
        for part_index, part in enumerate(parts):
            if part in columns:
                _plot(axes, columns, part, color=f"C{part_index}", linestyle=linestyle)
        axes.plot([], [], color="black", linestyle=linestyle, label=phase)
    for part_index, part in enumerate(parts):
        axes.plot([], [], color=f"C{part_index}", label=part.replace("_", " "))
    axes.set_title("Parts that sum to the bits per dimension")
    axes.set(xlabel="step of the phase", ylabel="bits/dim")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.3)
