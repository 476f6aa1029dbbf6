"""`lcma-evaluate`, or `python -m lcma_tf.evaluate`: bits/dim of a run over a split, and its parts.

The figures are printed and kept in `evaluation.json` in the workdir.
"""

import sys

import numpy as np

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config
from lcma_tf.config import require_count
from lcma_tf.files.paths import absolute_dataset, printable

_MAX_DRAWS = 1_000_000  # The scores of all draws of a batch are held at once.


def main() -> None:
    flags = flag_config.FLAGS
    require_count("num_importance_samples", flags.num_importance_samples, _MAX_DRAWS)
    for name in ("batch_size", "image_size"):
        if (value := getattr(flags, name)) is not None:
            require_count(name, value)
    table = flags.scores_csv
    if table is not None:
        cli.require_writable("scores_csv", table)
    from lcma_tf.distribute.strategy import set_intra_op_threads
    from lcma_tf.experiment.evaluation import (
        bits_per_dim_of_split,
        bits_per_dim_parts_of_split,
        standard_error,
    )
    from lcma_tf.experiment.evaluation_file import EvaluationFile, figures, write_scores
    from lcma_tf.experiment.run_images import load_images, whose_images
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.files.saving import SaveError
    from lcma_tf.model import load

    set_intra_op_threads(flags.intra_op_threads)
    workdir = Workdir(flags.workdir)
    _, config = workdir.read_configs()
    kept = EvaluationFile(workdir)
    model = load(flags.workdir).frozen()
    options = {**flag_config.image_options(), "split": flags.split}
    images = load_images(workdir, model.config, config, **options)
    batch_size = flags.batch_size or config.batch_size
    seed = config.seed if flags.seed is None else flags.seed
    num_dimensions = images.num_original_dimensions

    _, whose = whose_images(workdir, images)
    print(printable(f"{images.name}: {images.description}\n{whose}"))

    def show(scores: np.ndarray, num_draws: int, parts: dict | None = None) -> None:
        error = standard_error(scores)
        print(
            f"{printable(images.name)} {images.split}: {scores.mean():.4f}"
            f"{'' if error is None else f' +- {error:.4f}'} bits/dim "
            f"({len(scores)} images, {num_draws} noise draw{'s' * (num_draws > 1)} each)"
        )
        if parts is not None:
            print("  = " + " ".join(f"{part.mean():+.4f} {name}" for name, part in parts.items()))
        asked = {
            "dataset": printable(absolute_dataset(flags.dataset or config.dataset)),
            "split": images.split,
            "image_size": flags.image_size or config.image_size,
            "seed": seed,
            "num_importance_samples": num_draws,
            "batch_size": batch_size,
        }
        try:
            kept.add(asked, figures(images, scores, parts))
        except SaveError as refusal:
            print(f"warning: these figures are printed alone: {refusal}", file=sys.stderr)

    parts = bits_per_dim_parts_of_split(model, images.images, batch_size, seed, num_dimensions)
    scores, draws = np.sum(list(parts.values()), axis=0), flags.num_importance_samples
    show(scores, 1, parts)
    if draws > 1:
        scores = bits_per_dim_of_split(
            model,
            images.images,
            batch_size,
            seed,
            num_importance_samples=draws,
            num_dimensions=num_dimensions,
        )
        show(scores, draws)
    if table:
        write_scores(table, images, scores)
        print(printable(table))


def command() -> None:
    """What the script `lcma-evaluate` runs."""
    flag_config.define_evaluate_flags()
    cli.run(main)


if __name__ == "__main__":
    command()
