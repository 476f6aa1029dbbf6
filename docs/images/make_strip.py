"""Draws `strip.png`, the picture of the README, from a finished run of the quickstart:

    PYTHONPATH=. python docs/images/make_strip.py runs/quickstart

Such a run is made by `python -m lcma_tf.train --flagfile=configs/quickstart.flags`.
"""

import pathlib
import sys

import matplotlib
import numpy as np

import lcma_tf

_SIDE = 4  # Images of a grid, down and across.
_CHANNEL = 0  # What whitening leaves of the turned colour that varies most: brightness, nearly.


def main(workdir: str) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    run = pathlib.Path(workdir)
    flow = lcma_tf.load(run).frozen()
    factorization = lcma_tf.Factorization.load(run / "factorization.npz")
    with np.load(run / "contributions.npz") as contributions:
        first = contributions["layer_1"]
    images = lcma_tf.data.load("photo_patches").test
    chosen = np.random.default_rng(0).permutation(len(images))[: _SIDE**2]
    low, high = np.percentile(first[..., _CHANNEL], [1, 99])
    # The corner of the image alone: pixels, and so the pattern, can be seen.
    panels = [
        ("photographs", _grid(images[chosen]), {}),
        ("samples of the flow", _grid(flow.sample(_SIDE**2, seed=0).numpy()), {}),
        ("contribution, layer 1", first[:16, :16, _CHANNEL], {"vmin": low, "vmax": high}),
        ("goes on (black)", ~factorization.masks[0][:16, :16, _CHANNEL], {"cmap": "gray"}),
        ("scale of exit", factorization.exit_scale()[:16, :16, _CHANNEL], {"cmap": "magma"}),
    ]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(11, 2.45), layout="constrained")
    for axis, (title, picture, options) in zip(axes, panels, strict=True):
        axis.imshow(picture, interpolation="nearest", **options)
        axis.set_title(title, fontsize=10)
        axis.set(xticks=[], yticks=[])
    figure.savefig(pathlib.Path(__file__).parent / "strip.png", dpi=100)


def _grid(images: np.ndarray) -> np.ndarray:
    """A white sheet with the images on it, a pixel apart."""
    height, width = images.shape[1:3]
    sheet = np.full((_SIDE * (height + 1) - 1, _SIDE * (width + 1) - 1, 3), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // _SIDE * (height + 1), index % _SIDE * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet


if __name__ == "__main__":
    main(sys.argv[1])
