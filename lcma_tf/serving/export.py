"""`lcma-export`, or `python -m export.export_saved_model`: from a run to a version that is served."""

from __future__ import annotations

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config
from lcma_tf.typed import typed_command

__all__ = ["command"]


def main() -> None:
    flags = flag_config.FLAGS
    import tensorflow as tf

    from lcma_tf.experiment.calibrated import calibration_of
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.model import load
    from lcma_tf.serving.graph.signatures import check_serving_arguments
    from lcma_tf.serving.publishing.export_flow import export_flow
    from lcma_tf.serving.publishing.versions import check_export_dir

    workdir = Workdir(flags.workdir)
    workdir.check_there()
    metrics = workdir.read_metrics()
    method = flags.jpeg_method or metrics.get("jpeg_method", "INTEGER_ACCURATE")
    check_serving_arguments(flags.num_importance_samples, flags.max_batch_size, method)
    check_export_dir(flags.export_dir)
    # Nothing here is worth a GPU, and its reduced precision would pass for a wrong export.
    tf.config.set_visible_devices([], "GPU")
    model = load(flags.workdir)
    calibration = calibration_of(workdir) if workdir.calibration.exists() else None
    path = export_flow(
        model,
        flags.export_dir,
        noise_seed=flags.seed,
        num_importance_samples=flags.num_importance_samples,
        max_batch_size=flags.max_batch_size,
        jpeg_method=method,
        batch_invariant=flags.batch_invariant,
        calibration=calibration,
        metrics=metrics,
        command=typed_command("export.export_saved_model"),
    )
    print(path)


def command() -> None:
    """What the script `lcma-export` runs."""
    flag_config.define_export_flags()
    cli.run(main)
