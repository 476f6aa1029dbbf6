"""`python -m lcma_tf.train`: the paper's pipeline, from pretraining to pictures."""

from lcma_tf import cli, flag_config


def main() -> None:
    # Flags first, data next, TensorFlow's weight last: a misspelled value is answered at once.
    config = flag_config.train_config()
    flag_config.flow_config((2 ** (flag_config.FLAGS.num_scales + 1),) * 2 + (3,))
    from lcma_tf import data
    from lcma_tf.devices import RuntimeConfig
    from lcma_tf.experiment import run_experiment
    from lcma_tf.workdir import Workdir

    runtime = RuntimeConfig(
        flag_config.FLAGS.num_devices,
        flag_config.FLAGS.steps_per_execution,
        flag_config.FLAGS.jit_compile,
    )
    images = data.load(config.dataset, config.data_dir, config.image_size)
    flow = flag_config.flow_config(images.image_shape)
    run_experiment(flow, config, images, Workdir(flag_config.FLAGS.workdir), runtime)


if __name__ == "__main__":
    flag_config.define_train_flags()
    cli.run(main, resumable=True)
