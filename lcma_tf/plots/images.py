"""Pictures made of images: samples, interpolations, reconstructions.

Images are uint8 `[N, H, W, C]` with C = 1 (grey) or 3 (RGB).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lcma_tf.plots.figure import Path, new_figure, save_figure

__all__ = [
    "as_images",
    "save_image_grid",
    "save_interpolation",
    "save_reconstruction",
    "save_samples",
    "save_temperatures",
]

MIN_SIDE = 96  # Smaller images are enlarged, pixel by pixel, until their longer side has this many.


def save_samples(
    path: Path, samples: np.ndarray, data: np.ndarray, temperature: float | None = None
) -> None:
    """Draws samples of the model beside real images, as two grids."""
    samples, data = as_images("samples", samples), as_images("data", data)
    title = "Samples of the model" + ("" if temperature is None else f" (T = {temperature:g})")
    figure = new_figure(10.0, 5.3)
    panels = figure.subplots(1, 2)
    for axes, images, text in zip(panels, (samples, data), (title, "Real images"), strict=True):
        height, width = images.shape[1:3]
        columns = math.ceil(math.sqrt(len(images) * height / width))
        axes.imshow(_grid(images, columns), interpolation="nearest")
        axes.set_title(text)
        axes.set_axis_off()
    save_figure(figure, path)


def save_image_grid(path: Path, images: np.ndarray, columns: int) -> None:
    """Writes images in rows of `columns`, two pixels apart, without axes; small ones enlarged."""
    from PIL import Image

    images = as_images("images", images)
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1, got columns={columns}.")
    Image.fromarray(_grid(images, columns)).save(path, format="PNG")


def save_temperatures(path: Path, samples_by_temperature: Mapping[float, np.ndarray]) -> None:
    """Draws one labelled row of samples for each temperature, the lowest on top."""
    if not samples_by_temperature:
        raise ValueError("`samples_by_temperature` must hold at least one temperature.")
    temperatures = sorted(samples_by_temperature)
    rows = [
        as_images(f"samples_by_temperature[{t:g}]", samples_by_temperature[t]) for t in temperatures
    ]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1:
        raise ValueError(
            "`samples_by_temperature` must hold arrays of one shape, "
            f"got {[row.shape for row in rows]}."
        )
    labels = [f"T = {t:g}" for t in temperatures]
    _save_rows(path, np.stack(rows), labels, "Samples at each temperature T")


def save_interpolation(path: Path, paths: np.ndarray) -> None:
    """Draws rows of images that lead from one real image (first column) to another (last).

    Args:
        path: the PNG file to write.
        paths: uint8 `[rows, steps, H, W, C]`, at least 2 steps.
    """
    paths = np.asarray(paths)
    if paths.ndim != 5 or paths.shape[1] < 2:
        raise ValueError(
            "`paths` must have shape [rows, steps, H, W, C] with at least 2 steps, "
            f"got shape {paths.shape}."
        )
    rows, steps = paths.shape[:2]
    as_images("paths", paths.reshape((-1, *paths.shape[2:])))
    columns = ["real"] + [f"{k / (steps - 1):.2f}" for k in range(1, steps - 1)] + ["real"]
    title = "Interpolation between two real images: share of the way in latent space"
    _save_rows(path, paths, [""] * rows, title, columns)


def save_reconstruction(path: Path, originals: np.ndarray, reconstructions: np.ndarray) -> None:
    """Draws originals, decode(encode(originals)), and their absolute difference, stretched."""
    originals = as_images("originals", originals)
    reconstructions = as_images("reconstructions", reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "`reconstructions` must have the shape of `originals`, "
            f"got {reconstructions.shape} for {originals.shape}."
        )
    difference = np.abs(originals.astype(int) - reconstructions.astype(int))
    largest = int(difference.max())
    scale = 255 // largest if largest else 1
    changed = int(np.any(difference, axis=-1).sum())
    title = f"Reconstruction: {changed:,} of {difference[..., 0].size:,} pixels differ"
    if changed:
        title += f", by at most {largest} of 255"
    rows = np.stack([originals, reconstructions, (scale * difference).astype(np.uint8)])
    labels = ["original", "decode(\nencode(x))", f"|difference|\ntimes {scale}"]
    _save_rows(path, rows, labels, title)


def as_images(name: str, images: np.ndarray) -> np.ndarray:
    """Checks one batch of images under the name of the argument that brought it."""
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"`{name}` must be images [N, H, W, C] with C = 1 or 3, got shape {images.shape}."
        )
    if images.dtype != np.uint8:
        raise ValueError(f"`{name}` must be uint8, got dtype {images.dtype}.")
    return images


def _enlarged(images: np.ndarray) -> np.ndarray:
    """RGB images, each pixel repeated so that small images stay sharp when they are printed."""
    zoom = max(1, math.ceil(MIN_SIDE / max(images.shape[1:3])))
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    return images if images.shape[3] == 3 else images.repeat(3, axis=3)


def _grid(images: np.ndarray, columns: int, margin: int = 2) -> np.ndarray:
    """One white RGB sheet with the images on it, row by row; empty places stay white."""
    images = _enlarged(images)
    columns = min(columns, len(images))
    height, width = images.shape[1] + margin, images.shape[2] + margin
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * height + margin, columns * width + margin, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * height + margin, index % columns * width + margin
        sheet[top : top + height - margin, left : left + width - margin] = image
    return sheet


def _save_rows(
    path: Path,
    rows: np.ndarray,
    row_labels: Sequence[str],
    title: str,
    column_labels: Sequence[str] | None = None,
) -> None:
    """Draws `[rows, columns, H, W, C]` with labels; columns labelled "real" get a red frame."""
    num_rows, num_columns, height, width = rows.shape[:4]
    labels = column_labels or [""] * num_columns
    cell = 0.95
    labelled = 1.1 * any(row_labels)
    figure = new_figure(
        max(cell * num_columns + labelled, 0.085 * len(title) + 0.4),
        cell * height / width * num_rows + 0.35 * bool(column_labels) + 0.5,
    )
    panels = figure.subplots(num_rows, num_columns, squeeze=False)
    for (row, column), axes in np.ndenumerate(panels):
        axes.imshow(_enlarged(rows[row, column : column + 1])[0], interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        real = labels[column] == "real"
        for spine in axes.spines.values():
            spine.set(visible=real, color="tab:red", linewidth=2.5)
        if row == 0 and column_labels:
            axes.set_title(labels[column], fontsize=9, color="tab:red" if real else "black")
        if column == 0:
            axes.set_ylabel(row_labels[row], rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, path)
