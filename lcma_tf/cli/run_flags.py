"""The flags of the commands that take a finished run."""

from __future__ import annotations

from typing import Any

from absl import flags

from lcma_tf.choices import INPUTS, OF_TABLES, RESIZES, SCORES, TABLES
from lcma_tf.cli.definitions import (
    define_data_cache,
    define_intra_op_threads,
    define_path,
    define_seed,
    show_in_help,
)
from lcma_tf.config import TrainConfig, is_rate, options, require, require_count

__all__ = [
    "FLAGS",
    "batch_size",
    "define_beam_flags",
    "define_calibrate_flags",
    "define_evaluate_flags",
    "define_evaluate_scores_flags",
    "define_export_flags",
    "define_sample_flags",
    "define_score_flags",
    "false_alarm_rate",
    "image_options",
    "reading_options",
]

FLAGS = flags.FLAGS


def define_evaluate_flags() -> None:
    """The flags of `lcma_tf.evaluate`."""
    define_path("workdir", None, "folder of a finished run", required=True)
    flags.DEFINE_enum(
        "split",
        None,
        ("train", "validation", "test"),
        "images to score; default: test, or all of another image_folder than the run's that has no "
        "sub-folders for splits, which is split by hash of the file names only if this is given",
    )
    define_path("scores_csv", None, "a file for the score of every image")
    flags.DEFINE_integer("num_importance_samples", 1, "noise draws for each image")
    flags.DEFINE_integer("batch_size", None, "images a pass; default: the run's")
    define_seed("of the dequantization noise; default: the run's", default=None)
    _define_images()
    show_in_help()


def define_calibrate_flags() -> None:
    """The flags of `lcma_tf.calibrate`."""
    define_path("workdir", None, "folder of a finished run", required=True)
    flags.DEFINE_enum(
        "split",
        None,
        ("train", "validation", "test"),
        "images to calibrate with; default: validation, or all of another image_folder than the run's "
        "that has no sub-folders for splits",
    )
    flags.DEFINE_string(
        "groups",
        None,
        "which images are related: folders (files of one folder are), or npz:FILE:ARRAY with a number "
        "or name for each image; default: each is by itself",
    )
    flags.DEFINE_float("false_alarm_rate", 0.01, "share of such images that is_anomaly is true for")
    names = [name for name in SCORES if name not in OF_TABLES]
    flags.DEFINE_enum("anomaly_by", "density_of_states", names, "what anomaly_score is made of")
    flags.DEFINE_integer("batch_size", 64, "images a pass")
    define_seed("of the dequantization noise")
    _define_images()
    show_in_help()


def define_evaluate_scores_flags() -> None:
    """The flags of `lcma_tf.evaluate_scores`."""
    define_path("workdir", None, "folder of a finished run that is calibrated", required=True)
    flags.DEFINE_string(
        "normal", None, "data set of images as they should be; default: the run's test images"
    )
    flags.DEFINE_list(
        "anomalous", None, "data sets of unusual images, with commas between them", required=True
    )
    define_path(
        "output",
        None,
        "the JSON file, beside which a table .md and a figure .png go; default: "
        "score_evaluation.json in the workdir",
    )
    flags.DEFINE_integer("batch_size", 64, "images a pass")
    define_seed("of the resamples behind the intervals")
    _define_pass()
    show_in_help()


def define_sample_flags() -> None:
    """The flags of `lcma_tf.sample`."""
    define_path("workdir", None, "folder of a finished run", required=True)
    define_path("output", None, "the PNG file; default: drawn.png in the workdir")
    flags.DEFINE_enum(
        "kind",
        "grid",
        ("grid", "temperatures", "interpolation"),
        "a grid of samples, rows at several temperatures, or paths between test images",
    )
    flags.DEFINE_integer("num_samples", 64, "images of the grid, or rows of the interpolation")
    flags.DEFINE_multi_float("temperature", None, "of the latents; may be given several times")
    flags.DEFINE_integer("steps", 9, "images of a row, both ends included; in all at most 1024")
    _define_images()
    define_seed("of the samples, or of the choice of test images")
    show_in_help()


def define_score_flags() -> None:
    """The flags of `lcma_tf.score`."""
    define_path("workdir", None, "folder of a finished run that is calibrated")
    define_path("saved_model", None, "or the folder of a version exported from such a run")
    flags.mark_flags_as_mutual_exclusive(["workdir", "saved_model"], required=True)
    flags.DEFINE_string(
        "input",
        None,
        "a folder of PNG and JPEG files, a pattern for such files, or one of "
        f"{', '.join(INPUTS)} and what follows: see docs/scores.md",
        required=True,
    )
    define_path("output", None, f"the table, a name with {' or '.join(TABLES)}", required=True)
    define_path("data_dir", None, "where a tfds: input is; default: TFDS' own folder")
    _define_scoring()
    define_intra_op_threads()
    flags.DEFINE_integer("top", 0, "draws so many of the most and of the least unusual images")
    show_in_help()


def define_beam_flags() -> None:
    """The flags of `lcma_tf.score_beam`."""
    flags.DEFINE_string(
        "workdir",
        None,
        "folder of a calibrated run that all machines see, as gs://...",
        required=True,
    )
    flags.DEFINE_string(
        "input",
        None,
        "a pattern for PNG and JPEG files, or parquet:PATTERN:COLUMN:NAMES",
        required=True,
    )
    flags.DEFINE_string(
        "output",
        None,
        "what the files of the table begin with, and .csv or .parquet",
        required=True,
    )
    flags.DEFINE_string(
        "beam_flags", "", "flags of Apache Beam, in one text: --runner=... and others"
    )
    _define_scoring()
    show_in_help()


def define_export_flags() -> None:
    """The flags of `export.export_saved_model`."""
    define_path("workdir", None, "folder of a finished run", required=True)
    define_path("export_dir", None, "base path of the served model", required=True)
    define_seed("of the dequantization noise of scores")
    flags.DEFINE_integer("num_importance_samples", 1, "noise draws of a score, 1 to 1000")
    flags.DEFINE_integer("max_batch_size", 64, "rows of a request, or of requests merged")
    flags.DEFINE_string("jpeg_method", None, "how JPEG is decoded; default: as the run's data was")
    flags.DEFINE_bool("batch_invariant", False, "equal bits in every batch, row by row: slower")
    show_in_help()


def _define_scoring() -> None:
    flags.DEFINE_enum(
        "resize",
        "refuse",
        ("refuse", *RESIZES),
        "what becomes of an image of another size: an error, or how it is brought to the flow's",
    )
    flags.DEFINE_float(
        "false_alarm_rate",
        None,
        "share of normal images at which is_anomaly begins; default: the calibration's",
    )
    flags.DEFINE_integer("batch_size", 64, "images a pass")
    flags.DEFINE_bool(
        "batch_invariant", False, "log_prob equal to the bit in every batch, row by row: slower"
    )


def false_alarm_rate() -> Any:
    """The value of this flag; None where it is not given and has no default.

    Raises:
        ConfigError: it is no such rate.
    """
    rate = FLAGS.false_alarm_rate
    require(rate is None or is_rate(rate), "false_alarm_rate", "between 0 and 0.5", rate)
    return rate


def batch_size() -> int:
    """The value of this flag.

    Raises:
        ConfigError: it is below 1 or above what TensorFlow counts rows by.
    """
    require_count("batch_size", FLAGS.batch_size)
    return FLAGS.batch_size


def image_options() -> dict[str, Any]:
    """The values of the flags for `lcma_tf.experiment.run_images.load_images`, by name."""
    dataset = FLAGS.dataset
    require(dataset != "", "dataset", "the name of a data set", dataset)
    return {"dataset": dataset, **reading_options()}


def reading_options() -> dict[str, Any]:
    """Those of `image_options` that say how images are read, whichever they are."""
    return {
        "data_dir": FLAGS.data_dir,
        "image_size": FLAGS.image_size,
        "skip_bad_images": FLAGS.skip_bad_images,
        "data_cache": FLAGS.data_cache,
    }


def _define_images() -> None:
    flags.DEFINE_string("dataset", None, "another data set than the run's, or its new place")
    _define_pass()


def _define_pass() -> None:
    """What every command has that takes images of a data set through a flow."""
    define_path("data_dir", None, "where it is; default: the run's")
    flags.DEFINE_integer(
        "image_size", None, "side to which its pictures are brought; default: the run's"
    )
    text = options(TrainConfig)["skip_bad_images"].text
    flags.DEFINE_bool("skip_bad_images", None, f"{text}; default: as the run")
    define_data_cache()
    define_intra_op_threads()
