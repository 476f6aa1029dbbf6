"""`lcma-sample`, or `python -m lcma_tf.sample`: pictures from a finished run."""

import os
import sys

import numpy as np

from lcma_tf import cli, plots
from lcma_tf.cli import run_flags as flag_config
from lcma_tf.config import check_temperature, require_count

_MAX_IMAGES = 1_024  # Of a picture; they are drawn at once.
_ROW = 12  # Samples for each temperature.


def main() -> None:
    flags = flag_config.FLAGS
    least = 2 if flags.kind == "interpolation" else 1  # Images of a row: a path has two ends.
    require_count("num_samples", flags.num_samples, _MAX_IMAGES // least)
    size = flags.image_size
    cli.require(size is None or size >= 1, "image_size", "at least 1", size)
    cli.require(flags.steps >= 2, "steps", "at least 2", flags.steps)
    if flags.kind == "interpolation":
        require_count("steps", flags.steps, _MAX_IMAGES // _rows(flags))
    temperatures = flags.temperature or (
        [0.25, 0.5, 0.75, 1.0] if flags.kind == "temperatures" else [1.0]
    )
    for value in temperatures:
        check_temperature(value)
    if flags.kind != "temperatures":
        cli.require(
            len(temperatures) == 1, "temperature", f"given once for a {flags.kind}", temperatures
        )
    path = flags.output or os.path.join(flags.workdir, "drawn.png")
    if flags.output or os.path.isdir(flags.workdir):
        cli.require_writable("output", path)
        cli.require(path.lower().endswith(".png"), "output", "a file that ends in .png", path)
    if flags.kind != "grid":  # A grid is a picture of pixels alone.
        plots.require_matplotlib()
    from lcma_tf.distribute.strategy import set_intra_op_threads
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.files.saving import written_whole
    from lcma_tf.model import load

    set_intra_op_threads(flags.intra_op_threads)
    Workdir(flags.workdir).check_there()
    model = load(flags.workdir).frozen()
    with written_whole(path) as temporary:
        _draw(temporary, model, temperatures, flags)
    print(path)


def _draw(path, model, temperatures, flags) -> None:
    if flags.kind == "interpolation":
        plots.save_interpolation(path, _paths(model, flags))
    elif flags.kind == "temperatures":
        rows = {t: model.sample(_ROW, flags.seed, t).numpy() for t in temperatures}
        plots.save_temperatures(path, rows)
    else:
        images = model.sample(flags.num_samples, flags.seed, temperatures[0]).numpy()
        plots.save_image_grid(path, images, columns=int(np.ceil(np.sqrt(len(images)))))


def _rows(flags) -> int:
    """Of an interpolation."""
    return flags.num_samples if flags["num_samples"].present else 6


def _paths(model, flags):
    from lcma_tf.data.one_split import WHOLE
    from lcma_tf.experiment.run_images import load_images, whose_images
    from lcma_tf.experiment.workdir import Workdir

    workdir = Workdir(flags.workdir)
    _, config = workdir.read_configs()
    images = load_images(workdir, model.config, config, **flag_config.image_options())
    may_be_the_runs, whose = whose_images(workdir, images)
    if not may_be_the_runs:
        print(f"warning: {whose}", file=sys.stderr)
    ends = images.images
    rows = _rows(flags)
    what = "images of the folder" if images.split == WHOLE else "test images"
    cli.require(2 * rows <= len(ends), "num_samples", f"at most half the {len(ends)} {what}", rows)
    order = np.random.default_rng(flags.seed).permutation(len(ends))
    return model.interpolate(ends[order[:rows]], ends[order[-rows:]], flags.steps).numpy()


def command() -> None:
    """What the script `lcma-sample` runs."""
    flag_config.define_sample_flags()
    cli.run(main)


if __name__ == "__main__":
    command()
