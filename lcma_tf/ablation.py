"""`lcma-ablation`, or `python -m lcma_tf.ablation`: the paper's Table 2, every rule with every seed.

Give the same command again to go on after an interruption, and other `--split_rules` or `--seeds` to
add them to the study. What each run has for itself in a flag file, `--split_rule` and `--seed`, is
not read.
"""

from lcma_tf import cli, plots
from lcma_tf.cli import flags as flag_config
from lcma_tf.typed import typed_command


def main() -> None:
    # In this order for the reasons that `train.py` gives.
    study = flag_config.study_config()
    config = flag_config.train_config(split_rule=study.most_demanding_rule)
    flag_config.check_flow_flags()
    plots.require_matplotlib()
    from lcma_tf import data
    from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
    from lcma_tf.distribute.workers import Cluster
    from lcma_tf.study.cells import Cells
    from lcma_tf.study.folder import StudyFolder
    from lcma_tf.study.run import Study

    num_workers = Cluster.from_environment().num_workers
    cli.require(num_workers == 1, "TF_CONFIG", "of one worker: a study is of one host", num_workers)
    path = flag_config.FLAGS.cells
    cells = None if path is None else Cells(path)
    if cells is not None:
        cells.check_writable()
    folder = StudyFolder(flag_config.FLAGS.workdir, cells)
    folder.check_place()
    options = RuntimeConfig(**flag_config.runtime_options())
    runtime = Runtime.open(options, config.batch_size)
    images = data.load(**config.data_options(), data_cache=flag_config.FLAGS.data_cache)
    Study(
        config=study,
        flow=flag_config.flow_config(**images.flow_options()),
        train=config,
        data=images,
        folder=folder,
        runtime=runtime,
        command=typed_command("lcma_tf.ablation"),
    )()
    print(folder.path / "ablation.md")


def command() -> None:
    """What the script `lcma-ablation` runs."""
    flag_config.define_ablation_flags()
    cli.run(main, resumable=True)


if __name__ == "__main__":
    command()
