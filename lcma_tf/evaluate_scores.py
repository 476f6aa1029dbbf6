"""`lcma-evaluate-scores`, or `python -m lcma_tf.evaluate_scores`: do a run's scores tell unusual images?

Every score of normal images against those of each set of unusual ones: AUROC, average precision and
false alarms at 95 % detection, with intervals. It leaves `score_evaluation.json` in the workdir,
beside it a table (`.md`) and the distributions (`.png`).
"""

import os
import pathlib

from lcma_tf import cli, plots
from lcma_tf.cli import run_flags as flag_config
from lcma_tf.files.paths import printable


def main() -> None:
    flags = flag_config.FLAGS
    batch_size = flag_config.batch_size()
    cli.require(flags.normal != "", "normal", "the name of a data set", flags.normal)
    output = flags.output or os.path.join(flags.workdir, "score_evaluation.json")
    if flags.output is not None:
        cli.require(output.endswith(".json"), "output", "a file that ends in .json", flags.output)
    if flags.output is not None or os.path.isdir(flags.workdir):
        cli.require_writable("output", output)
    plots.require_matplotlib()
    from lcma_tf.scores.detection import require_sklearn

    require_sklearn()
    from lcma_tf.choices import SCORES
    from lcma_tf.distribute.strategy import set_intra_op_threads
    from lcma_tf.experiment.calibrated import scored_flow
    from lcma_tf.experiment.run_images import load_images, whose_images
    from lcma_tf.experiment.score_evaluation import as_markdown, evaluate_scores, short_names
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.files.saving import write_json, write_whole, written_whole

    set_intra_op_threads(flags.intra_op_threads)
    names = short_names(flags.anomalous)
    workdir = Workdir(flags.workdir)
    flow, config = workdir.read_configs()
    scored = scored_flow(workdir)
    reading = flag_config.reading_options()
    normal = load_images(workdir, flow, config, dataset=flags.normal, argument="normal", **reading)
    anomalous = {
        name: load_images(workdir, flow, config, dataset=dataset, argument="anomalous", **reading)
        for name, dataset in zip(names, flags.anomalous, strict=True)
    }
    print(printable(f"normal: {normal.name}, {whose_images(workdir, normal)[1]}"))
    found, values = evaluate_scores(
        scored, normal, anomalous, batch_size=batch_size, seed=flags.seed
    )
    table = as_markdown(found)
    print(f"\n{table}")
    write_json(output, found)
    written = [pathlib.Path(output).with_suffix(suffix) for suffix in (".md", ".png")]
    write_whole(written[0], table.encode())
    with written_whole(written[1]) as temporary:
        plots.save_score_distributions(
            temporary,
            values,
            {
                name: {
                    score: f"{figures['auroc']['value']:.3f}"
                    for score, figures in entry["scores"].items()
                }
                for name, entry in found["anomalous"].items()
            },
            {score: SCORES[score].help for score in values["normal"]},
            noted="AUROC",
        )
    print(*map(printable, [output, *written]), sep="\n")


def command() -> None:
    """What the script `lcma-evaluate-scores` runs."""
    flag_config.define_evaluate_scores_flags()
    cli.run(main)


if __name__ == "__main__":
    command()
