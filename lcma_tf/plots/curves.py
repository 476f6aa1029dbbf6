"""Training curves: bits/dim against the step, and the parts that sum to it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure

__all__ = ["save_training_curves"]

Curves = Mapping[str, Mapping[str, np.ndarray]]

LINE_STYLES = ("-", "--", ":", "-.")
_LINE, _CHARACTERS_AN_INCH = 0.19, 15.0  # Of the text below, in inches.
WARM_UP_SHARE = 0.05  # The first steps of a phase may leave the panel: they dwarf all others.


def save_training_curves(
    path: Path,
    curves: Curves,
    references: Mapping[str, float] | None = None,
    factorized_at: int | None = None,
) -> None:
    """Draws bits/dim against the step and, where recorded, the parts that sum to it.

    Args:
        path: the PNG file to write.
        curves: phase -> column -> array, one entry a record. Columns: `step`, `bits_per_dim`,
            `val_bits_per_dim` (NaN where not measured), all in bits/dim; and optionally the parts
            `latent`, `layer_1` ..., `pixel`.
        references: horizontal lines by name, such as the bits/dim of PNG.
        factorized_at: the step of one run, of whose parts `curves` are, at which the split was decided.
    """
    parts = _check_curves(curves)
    width = 12.0 if parts else 8.0
    columns = int(width * _CHARACTERS_AN_INCH)
    text = _explained(curves, bool(references), bool(parts), columns, factorized_at)
    below = _LINE * (text.count("\n") + 1) + 0.1
    figure = new_figure(width, 4.6 + below)
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.6, below])[:, 0]
    lower.text(0.02, 1.0, text, va="top", fontsize=9, linespacing=1.35)
    panels = upper.subplots(1, 2 if parts else 1, squeeze=False)[0]
    _draw_totals(panels[0], curves, references or {}, factorized_at or 0)
    if parts:
        _draw_parts(panels[1], curves, parts)
    if factorized_at is not None:
        for axes in panels:
            axes.axvline(factorized_at, color="0.3", linewidth=1, linestyle=":")
            axes.set_xlabel(
                "step of the run, at the end of each epoch; dotted: the split is decided"
            )
    save_figure(figure, path)


def _explained(
    curves: Curves, references: bool, with_parts: bool, columns: int, factorized_at: int | None
) -> str:
    """How to read the picture, in lines of so many characters."""
    sentences = [
        "Validation: the weights at the end of an epoch, with the batch norms' moving statistics; it "
        f"alone compares with {'the dashed lines' if references else 'other figures'}. Training "
        "mostly lies above, for three reasons: it is the mean over the steps of the epoch, while the "
        "weights improve; it takes the statistics of each batch; its images are others."
    ]
    if factorized_at is not None:
        sentences.append(
            f"One run: up to step {factorized_at:,} (pretrain) nothing leaves the flow before the last "
            "scale; then the split was decided, and train went on with the weights that fit."
        )
    elif len(curves) > 1 and "pretrain" in curves:
        sentences.append(
            "pretrain is another network than train: nothing leaves it before the last scale. It only "
            "decides which dimensions leave; its bits/dim are not those of the result."
        )
    if with_parts:
        sentences.append(
            "Parts: minus the log-density of the latents, and minus the log-det of each flow layer and "
            "of pixels (logit and noise)."
        )
    return "\n".join(line for text in sentences for line in textwrap.wrap(text, columns))


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
                f"`curves[{phase!r}]` must hold columns of one length, got shapes {shapes}."
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


def _draw_totals(
    axes: Any, curves: Curves, references: Mapping[str, float], factorized_at: int
) -> None:
    settled = list(references.values())
    for index, (phase, columns) in enumerate(curves.items()):
        color = f"C{index}"
        # Markers: a phase of one epoch is a point.
        style: dict[str, Any] = {"color": color, "marker": "x", "markersize": 5, "alpha": 0.6}
        _plot(axes, columns, "bits_per_dim", label=f"{phase}, training", **style)
        style = {"color": color, "marker": "o", "markersize": 3}
        _plot(axes, columns, "val_bits_per_dim", label=f"{phase}, validation", **style)
        # The parts of one run begin where each has its own first step.
        first = factorized_at if phase == "train" else 0
        length = np.max(columns["step"]) - first
        late = np.asarray(columns["step"]) >= first + WARM_UP_SHARE * length
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
        low, high = min(settled) - margin, max(settled) + margin
        axes.set_ylim(low, high)
        if any(not low <= value <= high for value in _finite_totals(curves)):
            axes.set_title("Bits per dimension (the first steps are cut off)")
    axes.set(xlabel="step of the phase, at the end of each epoch", ylabel="bits/dim")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _finite_totals(curves: Curves) -> list[float]:
    columns = [c[name] for c in curves.values() for name in ("bits_per_dim", "val_bits_per_dim")]
    values = np.concatenate([np.asarray(column, dtype=float) for column in columns])
    return values[np.isfinite(values)].tolist()


def _draw_parts(axes: Any, curves: Curves, parts: Sequence[str]) -> None:
    """Colour says the part, line style the phase."""
    for phase_index, (phase, columns) in enumerate(curves.items()):
        linestyle = LINE_STYLES[phase_index % len(LINE_STYLES)]
        for part_index, part in enumerate(parts):
            if part in columns:
                style = {"color": f"C{part_index}", "linestyle": linestyle, "marker": "."}
                _plot(axes, columns, part, **style)
        axes.plot([], [], color="black", linestyle=linestyle, label=phase)
    for part_index, part in enumerate(parts):
        axes.plot([], [], color=f"C{part_index}", label=part.replace("_", " "))
    axes.set_title("Parts that sum to the bits per dimension (training)")
    axes.set(xlabel="step of the phase, at the end of each epoch", ylabel="bits/dim")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.3)
