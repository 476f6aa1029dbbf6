"""`python -m lcma_tf.evaluate`: bits/dim of a finished run over a whole split."""

import numpy as np

from lcma_tf import cli, flag_config


def main() -> None:
    flags = flag_config.FLAGS
    for name in ("num_importance_samples", "batch_size"):
        value: int | None = getattr(flags, name)
        cli.require(value is None or value >= 1, name, "at least 1", value)
    from lcma_tf import data
    from lcma_tf.evaluation import bits_per_dim_of_split
    from lcma_tf.model import load
    from lcma_tf.workdir import Workdir

    _, config = Workdir(flags.workdir).read_configs()
    model = load(flags.workdir).frozen()
    images = data.load(
        flags.dataset or config.dataset, flags.data_dir or config.data_dir, config.image_size
    )
    cli.require(
        images.image_shape == model.config.image_shape,
        "dataset",
        f"one of images of shape {model.config.image_shape}",
        images.image_shape,
    )
    scores = bits_per_dim_of_split(
        model,
        getattr(images, flags.split),
        flags.batch_size or config.batch_size,
        config.seed if flags.seed is None else flags.seed,
        flags.num_importance_samples,
    )
    error = f" +- {scores.std(ddof=1) / np.sqrt(len(scores)):.4f}" if len(scores) > 1 else ""
    print(
        f"{images.name} {flags.split}: {scores.mean():.4f}{error} bits/dim "
        f"({len(scores)} images, {flags.num_importance_samples} noise draws each)"
    )


if __name__ == "__main__":
    flag_config.define_evaluate_flags()
    cli.run(main)
