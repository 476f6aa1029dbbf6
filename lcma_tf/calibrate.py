"""`lcma-calibrate`, or `python -m lcma_tf.calibrate`: how a run scores normal images.

A run is calibrated as it ends, with its validation images; this does it anew, with others or at another
rate of false alarms. It leaves `calibration.npz` in the workdir.

`lcma_tf.calibrate` is a function too: see `lcma_tf.train`.
"""

import sys
import types

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config


def main() -> None:
    flags = flag_config.FLAGS
    cli.require(
        0 < flags.false_alarm_rate < 0.5,
        "false_alarm_rate",
        "between 0 and 0.5",
        flags.false_alarm_rate,
    )
    cli.require(flags.batch_size >= 1, "batch_size", "at least 1", flags.batch_size)
    from lcma_tf.experiment.run_images import load_images, whose_images
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.files.paths import printable
    from lcma_tf.model import load
    from lcma_tf.scores.calibrate import calibrate

    workdir = Workdir(flags.workdir)
    _, config = workdir.read_configs()
    model = load(flags.workdir)
    split = flags.split if flags.dataset is not None else flags.split or "validation"
    images = load_images(workdir, model.config, config, split=split, **flag_config.image_options())
    print(printable(f"{images.name}: {images.description}\n{whose_images(workdir, images)[1]}"))
    calibration = calibrate(
        model,
        images.images,
        false_alarm_rate=flags.false_alarm_rate,
        anomaly_by=flags.anomaly_by,
        batch_size=flags.batch_size,
        seed=flags.seed,
    )
    with workdir.locked():
        calibration.save(workdir.calibration)
    print(printable(workdir.calibration))


def command() -> None:
    """What the script `lcma-calibrate` runs."""
    flag_config.define_calibrate_flags()
    cli.run(main)


class _CallableModule(types.ModuleType):
    def __call__(self, *args, **kwargs):
        from lcma_tf.scores.calibrate import calibrate

        return calibrate(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule


if __name__ == "__main__":
    command()
