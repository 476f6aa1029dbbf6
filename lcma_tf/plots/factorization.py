"""The factorization as a picture: the paper's Figure 1, and where each dimension exits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure

__all__ = ["save_factorization"]

MAX_CHANNELS = 4  # Panels of one kind in a row; deeper scales have more channels than that.
_GOES_ON, _LEAVES = "#1f4e9c", "#f6b26b"  # Told apart without colour too: dark and light.
_LINE, _CHARACTERS_AN_INCH = 0.19, 13.5  # Of the text above, in inches.
_BELOW = 0.3  # For the name of the axis below the last row, in inches.
# What is said of the rules that come with lcma_tf; others are named alone.
_RULES = {
    "lcma": "of each 2x2 block of each channel the two dimensions that contributed most go on, the two "
    "that contributed least leave",
    "lcma_reversed": "of each 2x2 block of each channel the two dimensions that contributed least go "
    "on, the two that contributed most leave",
    "lcma_null": "of each 2x2 block of each channel the two dimensions go on that contributed most "
    "beyond the mean of their channel and corner over all blocks",
    "lcma_block": "of each 2x2 block the half of its dimensions that contributed most goes on, whatever "
    "their channel",
    "gain": "of each channel the two corners of a block go on whose density gains most by later layers",
    "dependence": "of each channel the two corners of a block leave that depend least on one another, "
    "given what goes on",
    "random": "half of all dimensions, drawn without regard to their place, go on",
    "realnvp": "a fixed pattern: the diagonal of each 2x2 block of each channel goes on",
    "none": "nothing leaves before the last scale",
}


def save_factorization(
    path: Path,
    contributions: Sequence[np.ndarray | None],
    factorization_masks: Sequence[np.ndarray],
    exit_scale: np.ndarray,
    rule: str | None = None,
    *,
    rotation: np.ndarray | None = None,
    whitens: bool = False,
) -> None:
    """Draws what each dimension contributed and which go on, scale by scale, then all exits.

    Args:
        path: the PNG file to write.
        contributions: for each mask the mean accumulated log-det terms, nats, `[h, w, c]` in the
            coordinates of what is in the flow at that scale; None where the rule needs none.
        factorization_masks: bool arrays of the same shapes, True = goes on; empty for one scale.
        exit_scale: int `[H, W, C]` in data coordinates: the scale, 1 to K, where each exits.
        rule: name of the split rule, for the title and what is said of it; None = not known.
        rotation: `[C, C]`, whose rows are the axes that channels are after the data's have been turned;
            None = they are not.
        whitens: whether what its neighbours say of a pixel is taken off before the first scale.
    """
    masks = [np.asarray(mask) for mask in factorization_masks]
    terms = [None if term is None else np.asarray(term) for term in contributions]
    exit_scale = np.asarray(exit_scale)
    _check_factorization(terms, masks, exit_scale)

    width, height = _factorization_size(terms, masks, exit_scale)
    columns = int(width * _CHARACTERS_AN_INCH)
    text = _explained(_about(rule, rotation, whitens), terms, masks, columns)
    above = _LINE * (text.count("\n") + 1) + 0.3
    row = height / (len(masks) + 1)
    shares = [above, *[row] * len(masks), row + _BELOW]
    figure = new_figure(width, sum(shares))
    head, *bands = figure.subfigures(len(shares), 1, squeeze=False, height_ratios=shares)[:, 0]
    named = "" if rule is None else f": split rule '{rule}'"
    head.suptitle(f"Which dimensions leave the flow at which scale{named}", fontsize=12)
    head.text(0.5, 0.0, text, ha="center", va="bottom", fontsize=9, linespacing=1.35)
    for scale, (band, term, mask) in enumerate(zip(bands, terms, masks, strict=False), start=1):
        height, width, num_channels = mask.shape
        shown = min(num_channels, MAX_CHANNELS)
        which = f"the first {shown} of {num_channels}" if shown < num_channels else "all"
        size = f"{height} x {width} x {num_channels}"
        title = f"Scale {scale}: {size} dimensions in the flow; {which} channels (ch)"
        band.suptitle(title, fontsize=10)
        _draw_scale(band, None if term is None else term[..., :shown], mask[..., :shown])
    _draw_exit_scale(bands[-1], exit_scale, num_scales=len(masks) + 1)
    save_figure(figure, path)


def _about(rule: str | None, rotation: np.ndarray | None, whitens: bool) -> list[str]:
    """Sentences on what was decided."""
    sentences = [f"'{rule}': {_RULES[rule]}."] if rule in _RULES else []
    if rotation is not None:
        sentences.append(f"The colours are turned first. {_axes_in_words(np.asarray(rotation))}.")
    if whitens:
        sentences.append(
            "The images are whitened before the first scale: a dimension is what a linear prediction "
            "from the pixels above and to the left has left of a channel (ch) at its place."
        )
    return sentences


def _explained(
    about: Sequence[str],
    terms: Sequence[np.ndarray | None],
    masks: Sequence[np.ndarray],
    columns: int,
) -> str:
    """How to read the picture, in lines of so many characters."""
    sentences = [*about]
    if any(term is not None for term in terms):
        sentences.append(
            "Contribution of a dimension: the log-det terms of the pretrained flow up to this scale, "
            "averaged over the training images, in nats."
        )
    if masks:
        sentences.append(
            "Masks: blue goes on and is transformed at the next scale too, orange leaves the flow here; "
            "one square is one dimension. From scale 2 on rows and columns are those of what is left."
        )
    sentences.append(
        "Last row: the same in the image: the scale at which each of its dimensions leaves."
    )
    return "\n".join(line for text in sentences for line in textwrap.wrap(text, columns))


def _axes_in_words(rotation: np.ndarray) -> str:
    """`ch 0 = +0.58 R +0.57 G +0.58 B; ...`, one axis after the other."""
    names = "RGB" if len(rotation) == 3 else [f"c{index}" for index in range(len(rotation))]
    axes = (
        " ".join(f"{weight:+.2f} {name}" for weight, name in zip(row, names, strict=True))
        for row in rotation
    )
    return "; ".join(f"ch {index} = {axis}" for index, axis in enumerate(axes))


def _check_factorization(
    terms: Sequence[np.ndarray | None], masks: Sequence[np.ndarray], exit_scale: np.ndarray
) -> None:
    if exit_scale.ndim != 3 or not np.issubdtype(exit_scale.dtype, np.integer):
        raise ValueError(
            "`exit_scale` must be an int array [H, W, C], "
            f"got shape {exit_scale.shape}, dtype {exit_scale.dtype}."
        )
    last = len(masks) + 1
    if exit_scale.size == 0 or exit_scale.min() < 1 or exit_scale.max() > last:
        raise ValueError(f"`exit_scale` must hold scales 1 to {last} for {len(masks)} masks.")
    if len(terms) != len(masks):
        raise ValueError(
            "`contributions` must have one entry for each mask, "
            f"got {len(terms)} for {len(masks)} masks."
        )
    for scale, (term, mask) in enumerate(zip(terms, masks, strict=True), start=1):
        if mask.ndim != 3 or mask.dtype != bool or 0 in mask.shape:
            raise ValueError(
                f"`factorization_masks` must be bool arrays [h, w, c], got shape "
                f"{mask.shape}, dtype {mask.dtype} at scale {scale}."
            )
        if term is not None and term.shape != mask.shape:
            raise ValueError(
                f"`contributions` must have the shapes of the masks, got {term.shape} "
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
    return max(1.7 * max(counts, default=1) + 2.4, 7.0), (len(masks) + 1) * (panel + 0.85)


def _draw_scale(band: Any, term: np.ndarray | None, mask: np.ndarray) -> None:
    """One scale: heat maps of the contribution on the left, what goes on and leaves on the right."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    shown = mask.shape[2]
    offset = 0 if term is None else shown
    panels = band.subplots(1, offset + shown, squeeze=False)[0]
    if term is not None:
        # Percentiles, since a few dimensions at the border would take the whole colour range.
        low, high = np.percentile(term, [1, 99])
        for channel, axes in enumerate(panels[:offset]):
            image = axes.imshow(term[..., channel], vmin=low, vmax=high, interpolation="nearest")
            axes.set_title(f"contribution, ch {channel}", fontsize=8)
        bar = band.colorbar(image, ax=panels[:offset].tolist(), extend="both", pad=0.02)
        bar.set_label("contribution (nats)", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    colors = ListedColormap([_LEAVES, _GOES_ON])
    for channel, axes in enumerate(panels[offset:]):
        axes.imshow(mask[..., channel], cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"mask, ch {channel}", fontsize=8)
    meanings = [Patch(color=_GOES_ON, label="goes on"), Patch(color=_LEAVES, label="leaves here")]
    panels[-1].legend(
        handles=meanings, fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False
    )
    for axes in panels:
        _small_ticks(axes)


def _draw_exit_scale(band: Any, exit_scale: np.ndarray, num_scales: int) -> None:
    """For each position of the image the scale at which its dimensions leave."""
    from matplotlib.colors import BoundaryNorm

    num_channels = exit_scale.shape[2]
    maps = [
        (f"ch {c}" if num_channels > 1 else "", exit_scale[..., c]) for c in range(num_channels)
    ]
    if num_channels > MAX_CHANNELS:
        maps = [("mean over channels", exit_scale.mean(axis=2))]
    panels = band.subplots(1, len(maps), squeeze=False)[0]
    steps = BoundaryNorm(np.arange(num_scales + 1) + 0.5, 256)
    for axes, (title, values) in zip(panels, maps, strict=True):
        image = axes.imshow(values, norm=steps, cmap="magma", interpolation="nearest")
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("image column", fontsize=8)
        _small_ticks(axes)
    panels[0].set_ylabel("image row", fontsize=8)
    bar = band.colorbar(image, ax=panels.tolist(), ticks=range(1, num_scales + 1), panchor=False)
    names = [f"{scale}" for scale in range(1, num_scales)] + [f"{num_scales} (last)"]
    bar.ax.set_yticklabels(names)
    bar.set_label("scale at which it leaves", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    band.suptitle(f"Scale at which each dimension leaves the flow, of {num_scales}", fontsize=10)


def _small_ticks(axes: Any) -> None:
    axes.tick_params(labelsize=7)
    axes.locator_params(integer=True, nbins=5)
