"""`lcma-calibrate`, or `python -m lcma_tf.calibrate`: how a run scores normal images.

A run is calibrated as it ends, with its validation images; this does it anew, with others or at another
rate of false alarms. It leaves `calibration.npz` in the workdir.

`lcma_tf.calibrate` is a function too: see `lcma_tf.train`.
"""

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config


def main() -> None:
    flags = flag_config.FLAGS
    rate, batch_size = flag_config.false_alarm_rate(), flag_config.batch_size()
    from lcma_tf.distribute.strategy import set_intra_op_threads
    from lcma_tf.experiment.groups import groups_of
    from lcma_tf.experiment.run_images import load_images, whose_images
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.files.paths import printable
    from lcma_tf.model import load
    from lcma_tf.scores.calibrate import calibrate

    set_intra_op_threads(flags.intra_op_threads)
    groups = None if flags.groups is None else groups_of(flags.groups)
    workdir = Workdir(flags.workdir)
    _, config = workdir.read_configs()
    workdir.check_place()
    with workdir.locked():  # What it cannot keep, it need not measure.
        model = load(flags.workdir)
        asked = {"split": flags.split, "usual_split": "validation", **flag_config.image_options()}
        images = load_images(workdir, model.config, config, **asked)
        told = f"{images.name}, {images.split}, {len(images.images):,} images. {images.description}"
        print(printable(f"{told.strip()}\n{whose_images(workdir, images)[1]}"))
        calibration = calibrate(
            model,
            images.images,
            groups=None if groups is None else groups(images),
            false_alarm_rate=rate,
            anomaly_by=flags.anomaly_by,
            batch_size=batch_size,
            seed=flags.seed,
        )
        calibration.save(workdir.calibration)
    print(printable(workdir.calibration))


def command() -> None:
    """What the script `lcma-calibrate` runs."""
    flag_config.define_calibrate_flags()
    cli.run(main)


cli.make_callable(__name__, "lcma_tf.scores.calibrate:calibrate")


if __name__ == "__main__":
    command()
