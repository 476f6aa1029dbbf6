"""`lcma-evaluate`, or `python -m lcma_tf.evaluate`: bits/dim of a run over a split, and its parts."""

import numpy as np

from lcma_tf import cli
from lcma_tf.cli import flags as flag_config
from lcma_tf.files.paths import printable


def main() -> None:
    flags = flag_config.FLAGS
    for name in ("num_importance_samples", "batch_size"):
        value: int | None = getattr(flags, name)
        cli.require(value is None or value >= 1, name, "at least 1", value)
    from lcma_tf.experiment.evaluation import (
        bits_per_dim_of_split,
        bits_per_dim_parts_of_split,
        standard_error,
    )
    from lcma_tf.experiment.run_images import load_images, whose_images
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.model import load

    workdir = Workdir(flags.workdir)
    _, config = workdir.read_configs()
    model = load(flags.workdir).frozen()
    images = load_images(model.config, config, **flag_config.image_options())
    split = getattr(images, flags.split)
    batch_size = flags.batch_size or config.batch_size
    seed = config.seed if flags.seed is None else flags.seed
    num_dimensions = images.num_original_dimensions

    _, whose = whose_images(workdir, images)
    print(printable(f"{images.name}: {images.description}\n{whose}"))

    def show(scores: np.ndarray, num_draws: int) -> None:
        error = standard_error(scores)
        print(
            f"{printable(images.name)} {flags.split}: {scores.mean():.4f}"
            f"{'' if error is None else f' +- {error:.4f}'} bits/dim "
            f"({len(scores)} images, {num_draws} noise draw{'s' * (num_draws > 1)} each)"
        )

    parts = bits_per_dim_parts_of_split(model, split, batch_size, seed, num_dimensions)
    show(np.sum(list(parts.values()), axis=0), 1)
    print("  = " + " ".join(f"{part.mean():+.4f} {name}" for name, part in parts.items()))
    if flags.num_importance_samples > 1:
        draws = flags.num_importance_samples
        show(
            bits_per_dim_of_split(model, split, batch_size, seed, draws, num_dimensions),
            draws,
        )


def command() -> None:
    """What the script `lcma-evaluate` runs."""
    flag_config.define_evaluate_flags()
    cli.run(main)


if __name__ == "__main__":
    command()
