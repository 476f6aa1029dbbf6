"""A flag is a field of a config, and the flag files of `configs/` are good."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest
from absl import flags

import commands
import lcma_tf
from lcma_tf.cli import flags as flag_config
from lcma_tf.data.padding import padded
from lcma_tf.distribute.strategy import RuntimeConfig
from testing import blank_images

CONFIGS = sorted((pathlib.Path(__file__).resolve().parents[2] / "configs").glob("**/*.flags"))
FIELDS = {
    field.name: field
    for config in (lcma_tf.FlowConfig, lcma_tf.TrainConfig)
    for field in dataclasses.fields(config)
    if field.name not in ("image_shape", "original_shape", "real_valued")  # Said by the images.
}


@pytest.fixture
def values(monkeypatch):
    """Flags of `lcma_tf.train` by themselves, not among those of other tests."""
    values = flags.FlagValues()
    for kind in ("", "_string", "_integer", "_float", "_bool", "_enum"):
        name = f"DEFINE{kind}"
        monkeypatch.setattr(flags, name, _into(values, getattr(flags, name)))
    monkeypatch.setattr(flag_config, "FLAGS", values)
    flag_config.define_train_flags()
    return values


def _into(values, define):
    return lambda *args, **kwargs: define(*args, flag_values=values, **kwargs)


def test_every_field_is_a_flag_of_the_same_default(values):
    for name, field in FIELDS.items():
        assert values[name].default == field.default, name
        assert len(values[name].help) > 5, name


def test_every_flag_is_a_field_or_a_matter_of_the_machine(values):
    of_the_machine = {field.name for field in dataclasses.fields(RuntimeConfig)}
    assert set(values) == set(FIELDS) | of_the_machine | {"workdir", "config", "data_cache"}


def test_without_flags_the_configs_are_their_defaults(values):
    values(["train", "--workdir=w"])
    assert flag_config.flow_config(image_shape=(32, 32, 3)) == lcma_tf.FlowConfig()
    assert flag_config.train_config() == lcma_tf.TrainConfig()


def test_values_reach_the_config_with_their_type(values):
    argv = ["--num_scales=3", "--alpha=0.01", "--flip", "--data_dir=d", "--image_size=64"]
    argv += ["--resampler=program", "--pad_to=64"]
    argv += ["--level_widths=16, 8,8", "--level_blocks=1,1,2"]
    values(["train", "--workdir=w", *argv, "--seed=5", "--pretrain_steps=7"])
    flow, train = flag_config.flow_config(image_shape=(64, 64, 1)), flag_config.train_config()
    assert (flow.image_shape, flow.num_scales, flow.alpha) == ((64, 64, 1), 3, 0.01)
    assert (flow.level_widths, flow.level_blocks) == ((16, 8, 8), (1, 1, 2))
    assert values["level_widths"].serialize() == "--level_widths=16,8,8"
    assert (train.flip, train.data_dir, train.image_size) == (True, os.path.abspath("d"), 64)
    assert (train.resampler, train.pad_to) == ("program", 64)
    assert (train.pretrain_steps, train.train_steps) == (7, lcma_tf.TrainConfig().train_steps)
    assert flow.seed == train.seed == 5


def test_a_flow_knows_what_its_images_are(values):
    values(["train", "--workdir=w"])
    plain = blank_images(28, 28, 1)
    flow = flag_config.flow_config(**padded(plain, 32).flow_options())
    assert (flow.image_shape, flow.original_shape) == ((32, 32, 1), (28, 28, 1))
    assert (
        flow.num_dimensions == 784 == flag_config.flow_config(**plain.flow_options()).num_dimensions
    )
    assert not flow.real_valued
    assert flag_config.flow_config(**blank_images(8, 8, 3, np.float32).flow_options()).real_valued


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_flag_file_is_good(values, path):
    values(["train", "--workdir=w", f"--flagfile={path}"])
    flag_config.check_flow_flags()
    side = 64 if "64" in path.stem or "celeb" in path.stem else 32
    assert flag_config.flow_config(image_shape=(side, side, 3)).num_scales >= 2
    assert flag_config.train_config().split_rule in lcma_tf.SPLIT_RULES


def test_there_are_flag_files():
    assert "quickstart" in [path.stem for path in CONFIGS]


@pytest.mark.parametrize("num_scales", [1, 2, 40])
def test_flow_flags_are_checked_without_images(values, num_scales):
    values(["train", "--workdir=w", f"--num_scales={num_scales}"])
    flag_config.check_flow_flags()
    values["level_widths"].value = (2,) * num_scales
    flag_config.check_flow_flags()
    values["base_dim"].value = 0
    with pytest.raises(lcma_tf.ConfigError, match="`base_dim` must be an integer >= 1; got 0"):
        flag_config.check_flow_flags()


@pytest.mark.parametrize("text", ["", "16,", "16 16", "-1,16", "1.5,2", "x"])
def test_a_list_of_numbers_is_one(values, text):
    with pytest.raises(flags.IllegalFlagValueError, match="whole numbers with commas between"):
        values(["train", "--workdir=w", f"--level_widths={text}"])


def test_sizes_are_as_many_as_levels_before_there_are_images(values):
    values(["train", "--workdir=w", "--num_scales=3", "--level_widths=16,16"])
    with pytest.raises(lcma_tf.ConfigError, match="`level_widths` must be one .*num_scales=3"):
        flag_config.check_flow_flags()


@pytest.mark.parametrize(
    ("main", "flag"), [("train", "split_rule"), ("evaluate", "split"), ("sample", "temperature")]
)
def test_help_lists_the_flags(main, flag):
    assert f"--{flag}:" in commands.run(f"lcma_tf.{main}", "--help").out
