"""`lcma-train`, or `python -m lcma_tf.train`: the paper's pipeline, from pretraining to pictures.

`lcma_tf.train` is a function too. Where this module is imported it takes that name in the package, so
it can be called in its place.
"""

from lcma_tf import cli, plots
from lcma_tf.cli import flags as flag_config


def main() -> None:
    # Flags first, since a data set may have to be downloaded; and devices before data, since
    # TensorFlow divides a CPU only before it is used.
    config = flag_config.train_config()
    any_flow = flag_config.check_flow_flags()
    plots.require_matplotlib()
    from lcma_tf import data
    from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
    from lcma_tf.experiment.check_run import check_before_data
    from lcma_tf.experiment.run import Run
    from lcma_tf.experiment.workdir import Workdir

    options = RuntimeConfig(**flag_config.runtime_options())
    runtime = Runtime.open(options, config.batch_size)
    workdir, workers = Workdir(flag_config.FLAGS.workdir), runtime.workers
    with workers.in_touch():
        workers.on_chief(lambda: check_before_data(any_flow, config, workdir))
    images = data.load(**config.data_options(), data_cache=flag_config.FLAGS.data_cache)
    flow = flag_config.flow_config(**images.flow_options())
    Run(flow, config, images, workdir, runtime)()


cli.make_callable(__name__, "lcma_tf.experiment.method:train")


def command() -> None:
    """What the script `lcma-train` runs."""
    flag_config.define_train_flags()
    cli.run(main, resumable=True)


if __name__ == "__main__":
    command()
