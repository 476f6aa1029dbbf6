"""Flags to configs: the only module that knows absl flags, used by the mains alone.

A flag is a field of a config that has an `Option`: same name, same default, same meaning (see the
config's docstring).
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from absl import flags

from lcma_tf.choices import RULES
from lcma_tf.cli.named_configs import config_names, config_path
from lcma_tf.cli.parsers import IntsParser, PathParser
from lcma_tf.config import MAX_SEED, FlowConfig, Option, TrainConfig, options, require
from lcma_tf.study.config import StudyConfig

__all__ = [
    "FLAGS",
    "check_flow_flags",
    "define_ablation_flags",
    "define_evaluate_flags",
    "define_export_flags",
    "define_sample_flags",
    "define_train_flags",
    "flow_config",
    "image_options",
    "runtime_options",
    "study_config",
    "train_config",
]

FLAGS = flags.FLAGS


def define_train_flags() -> None:
    """The flags of `lcma_tf.train`."""
    _define_config()
    _define_path("workdir", None, "folder of the run: made, or gone on with", required=True)
    for config in (TrainConfig, FlowConfig):
        fields = {field.name: field for field in dataclasses.fields(config)}
        for name, option in options(config).items():
            if name not in FLAGS:
                _define(fields[name], option)
    flags.DEFINE_integer("num_devices", None, "devices a batch is split over; default: all GPUs")
    flags.DEFINE_integer("steps_per_execution", 1, "training steps a call from Python")
    flags.DEFINE_bool("jit_compile", False, "compile the training step with XLA")
    flags.DEFINE_bool("rematerialize", False, "train in less memory, with longer steps")
    _show_in_help()


def define_ablation_flags() -> None:
    """The flags of `lcma_tf.ablation`: those of `lcma_tf.train`, and what is compared."""
    define_train_flags()
    FLAGS["workdir"].help = "folder of the study: made, gone on with, or added to"
    for name, many in (("split_rule", "split_rules"), ("seed", "seeds")):
        FLAGS[name].help = f"not read: a study has --{many}"  # The flag files of runs have it.
    default = StudyConfig()
    rules, seeds = default.split_rules, map(str, default.seeds)
    flags.DEFINE_list("split_rules", list(rules), f"rules, of {', '.join(RULES)}")
    flags.DEFINE_list("seeds", list(seeds), "each rule is run with each; at least two for a test")
    _define_path(
        "cells", None, "file of results: the runs in it are not run again, new ones are added to it"
    )
    flags.DEFINE_bool(
        "equal_compute",
        default.equal_compute,
        "also run the rules without a pretraining for train_steps + pretrain_steps",
    )
    _show_in_help()


def define_evaluate_flags() -> None:
    """The flags of `lcma_tf.evaluate`."""
    _define_path("workdir", None, "folder of a finished run", required=True)
    flags.DEFINE_enum(
        "split",
        None,
        ("train", "validation", "test"),
        "images to score; default: test, or all of another image_folder than the run's that has no "
        "sub-folders for splits, which is split by hash of the file names only if this is given",
    )
    _define_path("scores_csv", None, "a file for the score of every image")
    flags.DEFINE_integer("num_importance_samples", 1, "noise draws for each image")
    flags.DEFINE_integer("batch_size", None, "images a pass; default: the run's")
    _define_seed("of the dequantization noise; default: the run's", default=None)
    _define_images()
    _show_in_help()


def define_sample_flags() -> None:
    """The flags of `lcma_tf.sample`."""
    _define_path("workdir", None, "folder of a finished run", required=True)
    _define_path("output", None, "the PNG file; default: drawn.png in the workdir")
    flags.DEFINE_enum(
        "kind",
        "grid",
        ("grid", "temperatures", "interpolation"),
        "a grid of samples, rows at several temperatures, or paths between test images",
    )
    flags.DEFINE_integer("num_samples", 64, "images of the grid, or rows of the interpolation")
    flags.DEFINE_multi_float("temperature", None, "of the latents; may be given several times")
    flags.DEFINE_integer("steps", 9, "images of each interpolation, both ends included")
    _define_images()
    _define_seed("of the samples, or of the choice of test images")
    _show_in_help()


def define_export_flags() -> None:
    """The flags of `export.export_saved_model`."""
    _define_path("workdir", None, "folder of a finished run", required=True)
    _define_path("export_dir", None, "base path of the served model", required=True)
    _define_seed("of the dequantization noise of scores")
    flags.DEFINE_integer("num_importance_samples", 1, "noise draws of a score; each costs a pass")
    flags.DEFINE_integer("max_batch_size", 64, "rows of a request, or of requests merged")
    flags.DEFINE_string("jpeg_method", None, "how JPEG is decoded; default: as the run's data was")
    flags.DEFINE_bool("batch_invariant", False, "equal bits in every batch, row by row: slower")
    _show_in_help()


def flow_config(**of_images: Any) -> FlowConfig:
    """The flow that the flags describe, for such images (`ImageData.flow_options`)."""
    return FlowConfig(**of_images, **_values(FlowConfig))


def check_flow_flags() -> None:
    """Raises `ConfigError` at a flow flag that no images would suit, before there are any."""
    side = 2 ** min(max(FLAGS.num_scales, 1), 64)  # Suits any number of scales that one could mean.
    FlowConfig(image_shape=(side, side, 1), **_values(FlowConfig))


def train_config() -> TrainConfig:
    """The run that the flags describe, its paths from the root."""
    return TrainConfig(**_values(TrainConfig)).with_absolute_paths()


def study_config() -> StudyConfig:
    """The study that the flags describe."""
    seeds = []
    for text in FLAGS.seeds:
        require(text.isascii() and text.isdigit(), "seeds", "whole numbers", text)
        seeds.append(int(text))
    return StudyConfig(tuple(FLAGS.split_rules), tuple(seeds), FLAGS.equal_compute)


def runtime_options() -> dict[str, Any]:
    """The values of the flags for `lcma_tf.distribute.strategy.RuntimeConfig`, by name."""
    names = ("num_devices", "steps_per_execution", "jit_compile", "rematerialize")
    return {name: FLAGS[name].value for name in names}


def _values(config: type) -> dict[str, Any]:
    return {name: FLAGS[name].value for name in options(config)}


def image_options() -> dict[str, Any]:
    """The values of the flags for `lcma_tf.experiment.run_images.load_images`, by name."""
    dataset = FLAGS.dataset
    require(dataset != "", "dataset", "the name of a data set", dataset)
    return {
        "dataset": dataset,
        "data_dir": FLAGS.data_dir,
        "image_size": FLAGS.image_size,
        "skip_bad_images": FLAGS.skip_bad_images,
    }


def _define_images() -> None:
    flags.DEFINE_string("dataset", None, "another data set than the run's, or its new place")
    _define_path("data_dir", None, "where it is; default: the run's")
    flags.DEFINE_integer(
        "image_size", None, "side to which its pictures are brought; default: the run's"
    )
    text = options(TrainConfig)["skip_bad_images"].text
    flags.DEFINE_bool("skip_bad_images", None, f"{text}; default: as the run")


def _define_seed(text: str, default: int | None = 0) -> None:
    flags.DEFINE_integer("seed", default, text, lower_bound=0, upper_bound=MAX_SEED)


def _define_path(name: str, default: str | None, text: str, **options: Any) -> None:
    flags.DEFINE(
        PathParser(), name, default, text, serializer=flags.ArgumentSerializer(), **options
    )


class _ConfigParser(flags.ArgumentParser):
    """The name of settings of ours, which hold from where it stands on, as those of a flag file do.

    Absl parses flags in their order, so that what follows overrides them. A flag file may have the flag,
    too; `--flagfile` there would be a path from the user's folder.
    """

    syntactic_help = "a name"

    def parse(self, argument: str) -> str:
        FLAGS(["config", f"--flagfile={config_path(argument)}"])
        return argument


def _define_config() -> None:
    text = f"settings that come with lcma_tf, in place of a --flagfile: {', '.join(config_names())}"
    flags.DEFINE(_ConfigParser(), "config", None, text, serializer=flags.ArgumentSerializer())


def _show_in_help() -> None:
    """Makes `--help` of the program list these flags: absl lists those of the main file alone."""
    for flag in FLAGS.flags_by_module_dict().get(__name__, ()):
        FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _define(field: dataclasses.Field, option: Option) -> None:
    name, text, kind = field.name, option.text, str(field.type)
    default: Any = field.default
    if option.choices is not None:
        flags.DEFINE_enum(name, default, option.choices, text)
    elif "tuple" in kind:
        flags.DEFINE(IntsParser(), name, default, text, serializer=flags.ListSerializer(","))
    elif option.is_path:
        _define_path(name, default, text)
    elif "bool" in kind:
        flags.DEFINE_bool(name, default, text)
    elif "float" in kind:
        flags.DEFINE_float(name, default, text)
    elif "int" in kind:
        flags.DEFINE_integer(name, default, text)
    else:
        flags.DEFINE_string(name, default, text)
