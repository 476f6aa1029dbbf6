"""Flags to configs: those of the commands that train.

A flag is a field of a config that has an `Option`: same name, same default, same meaning (see the
config's docstring).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from lcma_tf.choices import RULES
from lcma_tf.cli.definitions import (
    define_data_cache,
    define_intra_op_threads,
    define_path,
    show_in_help,
)
from lcma_tf.cli.named_configs import config_names, config_path
from lcma_tf.cli.parsers import IntsParser
from lcma_tf.config import FlowConfig, Option, TrainConfig, options, require
from lcma_tf.study.config import StudyConfig

__all__ = [
    "FLAGS",
    "check_flow_flags",
    "define_ablation_flags",
    "define_train_flags",
    "flow_config",
    "runtime_options",
    "study_config",
    "train_config",
]

FLAGS = flags.FLAGS


def define_train_flags() -> None:
    """The flags of `lcma_tf.train`."""
    _define_config()
    define_path("workdir", None, "folder of the run: made, or gone on with", required=True)
    for config in (TrainConfig, FlowConfig):
        fields = {field.name: field for field in dataclasses.fields(config)}
        for name, option in options(config).items():
            if name not in FLAGS:
                _define(fields[name], option)
    define_data_cache()
    flags.DEFINE_integer("num_devices", None, "devices a batch is split over; default: all GPUs")
    flags.DEFINE_integer("steps_per_execution", 1, "training steps a call from Python")
    flags.DEFINE_bool("jit_compile", False, "compile the training step with XLA")
    flags.DEFINE_bool("rematerialize", False, "train in less memory, with longer steps")
    define_intra_op_threads()
    show_in_help()


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
    define_path(
        "cells", None, "file of results: the runs in it are not run again, new ones are added to it"
    )
    flags.DEFINE_bool(
        "equal_compute",
        default.equal_compute,
        "also run the rules without a pretraining for train_steps + pretrain_steps",
    )
    show_in_help()


def flow_config(**of_images: Any) -> FlowConfig:
    """The flow that the flags describe, for such images (`ImageData.flow_options`)."""
    return FlowConfig(**of_images, **_values(FlowConfig))


def check_flow_flags() -> FlowConfig:
    """The flow that the flags describe, for images of no matter which shape, before there are any.

    Raises:
        ConfigError: no images would suit it.
    """
    side = 2 ** min(max(FLAGS.num_scales, 1), 64)  # Suits any number of scales that one could mean.
    return FlowConfig(image_shape=(side, side, 1), **_values(FlowConfig))


def train_config(split_rule: str | None = None) -> TrainConfig:
    """The run that the flags describe, its paths from the root; `split_rule`, if given, is the rule."""
    values = _values(TrainConfig)
    if split_rule is not None:
        values["split_rule"] = split_rule
    return TrainConfig(**values).with_absolute_paths()


def study_config() -> StudyConfig:
    """The study that the flags describe."""
    seeds = []
    for text in FLAGS.seeds:
        require(text.isascii() and text.isdigit(), "seeds", "whole numbers", text)
        seeds.append(int(text))
    return StudyConfig(tuple(FLAGS.split_rules), tuple(seeds), FLAGS.equal_compute)


def runtime_options() -> dict[str, Any]:
    """The values of the flags for `lcma_tf.distribute.strategy.RuntimeConfig`, by name."""
    names = (
        "num_devices",
        "steps_per_execution",
        "jit_compile",
        "rematerialize",
        "intra_op_threads",
    )
    return {name: FLAGS[name].value for name in names}


def _values(config: type) -> dict[str, Any]:
    return {name: FLAGS[name].value for name in options(config)}


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


def _define(field: dataclasses.Field, option: Option) -> None:
    name, text, kind = field.name, option.text, str(field.type)
    default: Any = field.default
    if option.choices is not None:
        flags.DEFINE_enum(name, default, option.choices, text)
    elif "tuple" in kind:
        flags.DEFINE(IntsParser(), name, default, text, serializer=flags.ListSerializer(","))
    elif option.is_path:
        define_path(name, default, text)
    elif "bool" in kind:
        flags.DEFINE_bool(name, default, text)
    elif "float" in kind:
        flags.DEFINE_float(name, default, text)
    elif "int" in kind:
        flags.DEFINE_integer(name, default, text)
    else:
        flags.DEFINE_string(name, default, text)
