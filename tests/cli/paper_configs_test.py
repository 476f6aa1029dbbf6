"""The paper's configs, at full size: what they say of themselves is what they build."""

import pathlib
import re

import pytest

import lcma_tf
from benchmarks.architecture import BenchmarkConfig, conv_flops
from lcma_tf.cli import flags as flag_config
from testing import without_values

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "configs"
# Bits/dim of the paper's Table 1: static split, LCMA.
PAPER = {
    "cifar10": (3.49, 3.43),
    "imagenet32": (4.28, 4.21),
    "imagenet64": (3.98, 3.92),
    "celeba": (3.02, 2.71),
}
SIDES = {"cifar10": 32, "imagenet32": 32, "imagenet64": 64, "celeba": 64}
NAMES = [f"{data}_{rule}" for data in PAPER for rule in ("realnvp", "lcma")]


@pytest.fixture
def read(flags_of, monkeypatch):
    """The flags of a file, read by themselves."""
    monkeypatch.chdir(CONFIGS.parent)
    return lambda name: flags_of(f"--flagfile=configs/{name}.flags")


def head(name):
    lines = (CONFIGS / f"{name}.flags").read_text().split("\n\n")[0].splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines)


def side_of(name):
    return SIDES[name.partition("_")[0]]


def shape_of(name):
    return (side_of(name), side_of(name), 3)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_settings_of_the_paper(read, name):
    values = read(name)
    flow = flag_config.flow_config(image_shape=shape_of(name))
    train = flag_config.train_config()
    assert (train.batch_size, train.learning_rate, train.clip_norm) == (64, 1e-3, 100.0)
    assert (train.learning_rate_schedule, train.warmup_steps) == ("constant", 0)
    assert flow.batch_norm_moments == "all" and flow.weight_scale_l2 == 5e-5
    assert train.flip == (not name.startswith("imagenet"))
    assert train.split_rule == name.partition("_")[2]
    assert train.resampler == ("program" if name.startswith("celeba") else "antialias")
    assert values.workdir == f"runs/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_its_head_says_what_it_is(read, name):
    text, data = head(name), name.partition("_")[0]
    static, lcma = PAPER[data]
    first, second = (lcma, static) if name.endswith("lcma") else (static, lcma)
    assert re.search(rf"The paper's result: {first} bits/dim \(.*{second}\)", text)
    assert f"python -m lcma_tf.train --flagfile=configs/{name}.flags" in text
    read(name)
    flow = flag_config.flow_config(image_shape=shape_of(name))
    forward = conv_flops(
        BenchmarkConfig(side_of(name), flow.num_scales, flow.base_dim, flow.num_residual_blocks)
    )
    found = re.search(r"Convolutions: ([\d.]+) GFLOP an image forward, about ([\d.]+) in", text)
    assert float(found[1]) == pytest.approx(forward / 1e9, rel=2e-3)
    assert float(found[2]) == pytest.approx(3 * forward / 1e9, rel=5e-3)
    for word in ("Memory:", "Run time, an estimate", f"configs/{name}_smoke.flags"):
        assert word in text


@pytest.mark.parametrize("name", [f"{data}_lcma" for data in PAPER])
def test_it_builds_with_the_parameters_that_it_states(read, name):
    read(name)
    config = flag_config.flow_config(image_shape=shape_of(name))
    shape = shape_of(name)
    rule = lcma_tf.decide_factorization("realnvp", image_shape=shape, num_scales=config.num_scales)
    with without_values():
        model = lcma_tf.FlowModel(config, rule)
    (stated,) = re.findall(r"Parameters: ([\d,]+)", head(name))
    assert f"{model.num_parameters:,}" == stated
    assert head(name.replace("lcma", "realnvp")).count(stated) == 1
    assert model.distribution.event_shape == shape


@pytest.mark.parametrize("name", NAMES)
def test_its_smoke_size_is_the_same_but_small(read, name):
    full = {flag: read(name)[flag].value for flag in ("split_rule", "num_scales", "flip")}
    small = read(f"{name}_smoke")
    assert {flag: small[flag].value for flag in full} == full
    assert small.batch_norm_moments == "all"
    assert small.dataset.startswith("photo_patches") and small.train_steps <= 100
    assert ("64x64" in small.dataset) == (side_of(name) == 64)
    flag_config.flow_config(image_shape=shape_of(name))
