"""The benchmarks: their arithmetic on made-up measurements, and one real one.

Speed is not tested: no figure of a busy machine means anything.
"""

import dataclasses
import importlib
import platform
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks.architecture import BenchmarkConfig, conditioners, conv_flops
from benchmarks.contenders import CONTENDERS, missing_packages
from benchmarks.load import busy_by_others
from benchmarks.report import markdown, medians, summarize
from benchmarks.rounds import (
    JobFailed,
    Outcome,
    environment_of,
    others_share,
    run_job,
    run_rounds,
)
from benchmarks.run import VECTOR_UNITS, describe_machine
from benchmarks.suites import SUITES, Job, jobs_of

TINY = BenchmarkConfig(image_size=8, base_dim=4, num_residual_blocks=1, threads=1)
ON_GPU = dataclasses.replace(TINY, device="cuda")
NEEDS_TORCH = pytest.mark.skipif(bool(missing_packages("torch")), reason="needs torch")


def job(contender, measure="train"):
    return Job(contender, measure, (8,), TINY)


def steps(*seconds, others=0.0):
    return [{"step_s": s, "step_others": others, "num_parameters": 7} for s in seconds]


def outcome(contender, *seconds, disturbed=None, error=None):
    rounds = steps(*seconds)
    return Outcome(job(contender), rounds, disturbed or [False] * len(rounds), error)


def silent(line):
    del line


def test_the_median_leaves_disturbed_rounds_out_where_others_exist():
    assert medians(outcome("lcma", 1.0, 2.0, 9.0))["step_s"] == 2.0
    assert medians(outcome("lcma", 1.0, 2.0, 9.0, disturbed=[0, 0, 1]))["step_s"] == 1.5
    assert medians(outcome("lcma", 1.0, 2.0, 9.0, disturbed=[1, 1, 1]))["step_s"] == 2.0
    assert medians(outcome("lcma", error="no")) == {}


def test_ratios_are_to_torch_and_shares_to_the_bare_convolutions():
    lcma, torch, bare = summarize(
        [outcome("lcma", 1.5), outcome("torch", 2.0), outcome("bare", 1.2)]
    )
    assert lcma["ratio_to_torch"]["step_s"] == pytest.approx(0.75)
    assert lcma["share_of_bound"]["step_s"] == pytest.approx(0.8)
    assert torch["ratio_to_torch"]["step_s"] == 1.0
    assert bare["share_of_bound"]["step_s"] == 1.0


def test_jobs_of_another_configuration_are_not_compared():
    other = outcome("torch", 2.0)
    other.job = dataclasses.replace(other.job, config=dataclasses.replace(TINY, base_dim=8))
    (row, _) = summarize([outcome("lcma", 1.5), other])
    assert row["ratio_to_torch"] == {}


def test_the_table():
    rows = summarize(
        [
            outcome("lcma", 1.5, 1.5, disturbed=[False, True]),
            outcome("torch", 2.0),
            outcome("tfp_glow", error="it | broke"),
        ]
    )
    lines = markdown("train", rows).splitlines()
    assert lines[0] == "## train"
    assert lines[2] == "RealNVP: 8 pixels a side, 2 scales, 4 filters, 1 blocks."
    assert len({line.count("|") for line in lines[4:]}) == 1
    assert "| lcma |  | 1.500 (0.75) |" in lines[6]
    assert "1 of 2 rounds disturbed" in lines[6]
    assert "| torch |  | 2.000 |" in lines[7]
    assert "it / broke" in lines[8]


def test_a_curve_says_what_differs():
    wide = dataclasses.replace(job("lcma"), config=dataclasses.replace(TINY, base_dim=8))
    rows = summarize([outcome("lcma", 1.0), Outcome(wide, steps(2.0), [False])])
    assert " 4, 8 filters, " in markdown("width", rows)


def test_the_processor_and_its_vector_units_are_told():
    machine = describe_machine(TINY)
    assert machine["cpu"]
    assert set(machine["vector_units"]) <= set(VECTOR_UNITS)
    if sys.platform == "linux" and platform.machine() == "x86_64":
        flags = Path("/proc/cpuinfo").read_text().split()
        assert [unit for unit in VECTOR_UNITS if unit in flags] == machine["vector_units"]


def test_a_disturbed_round_is_repeated_twice_at_most_and_the_quietest_attempt_counts():
    results = [*steps(3.0, others=0.5), *steps(2.0, others=0.2), *steps(4.0, others=0.3)]
    attempts = iter(results)
    (found,) = run_rounds([job("lcma")], 1, lambda _: next(attempts), silent)
    assert found.rounds == [results[1]] and found.disturbed == [True]
    assert next(attempts, None) is None

    attempts = iter([*steps(3.0, others=0.5), *steps(1.0, others=0.01), *steps(9.0)])
    (found,) = run_rounds([job("lcma")], 1, lambda _: next(attempts), silent)
    assert found.rounds[0]["step_s"] == 1.0 and found.disturbed == [False]
    assert next(attempts)["step_s"] == 9.0


def test_rounds_are_interleaved_and_a_failure_ends_only_its_own():
    order = []

    def run(job):
        order.append(job.contender)
        if job.contender == "torch":
            raise JobFailed("no such luck")
        return steps(1.0)[0]

    found = run_rounds([job("lcma"), job("torch"), job("bare")], 2, run, silent)
    assert order == ["lcma", "torch", "bare", "lcma", "bare"]
    assert [len(o.rounds) for o in found] == [2, 0, 2]
    assert found[1].error == "no such luck"


def test_how_busy_others_are():
    assert busy_by_others(elapsed=10, busy=15, own=10, num_cores=2) == pytest.approx(0.25)
    assert busy_by_others(elapsed=10, busy=9.99, own=10, num_cores=2) == 0.0  # Clock ticks.
    # Of a measured window if there is one: what was before and after does not matter.
    assert others_share({"step_others": 0.1, "others_during": 0.6}) == 0.1
    assert others_share({"others_during": 0.6, "others_before": 0.9}) == 0.6
    assert others_share({"others_during": None}) == 0.0  # A system that does not say.


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_is_led_by_ours(suite):
    jobs = jobs_of(suite, BenchmarkConfig(), batch_size=8)
    assert jobs[0].contender == "lcma"
    assert {j.contender for j in jobs} <= CONTENDERS.keys()
    assert len(set(jobs)) == len(jobs)
    assert {j.contender for j in jobs_of(suite, TINY, 2, ["lcma"], smoke=True)} == {"lcma"}


def test_one_real_measurement(tmp_path):
    result = run_job(job("lcma"), seconds=0.1, timeout=300, cache=str(tmp_path))
    assert 0 < result["import_s"] < result["first_step_s"]
    assert 0 < result["step_s"] < result["first_step_s"]
    # The mask, a channel behind the image's own, meets its kernels once and not for each image.
    pixels = [found.first for found in conditioners(TINY) if found.first.inputs % 2]
    of_masks = sum(first.flops / first.inputs for first in pixels)
    assert result["conv_gflops"] == pytest.approx((conv_flops(TINY) - of_masks) / 1e9)
    assert result["step_repeats"] >= 3
    assert result["peak_memory_mib"] > 100


def test_a_failing_process_says_why(tmp_path):
    with pytest.raises(JobFailed, match="no samples"):
        run_job(job("bare", "sample"), seconds=0.1, timeout=300, cache=str(tmp_path))


def test_no_contender_sees_a_gpu_that_it_is_not_told_to_use():
    assert environment_of(TINY)["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(ON_GPU)


@pytest.mark.parametrize(
    "module", ["tensorflow_graph", pytest.param("torch_process", marks=NEEDS_TORCH)]
)
def test_a_gpu_that_is_not_there_is_named(module):
    shared = importlib.import_module(f"benchmarks.contenders.{module}")
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("it is there")
    with pytest.raises(RuntimeError, match="`device`.*'cuda'.*no GPU"):
        shared.prepare(ON_GPU)


def flow_model(config):
    """The FlowModel of the contender, without its threads: other tests run in this process."""
    from benchmarks.contenders.lcma import LcmaContender

    return LcmaContender(config).model


@NEEDS_TORCH
@pytest.mark.parametrize("config", [TINY, BenchmarkConfig()], ids=["tiny", "cifar10"])
def test_the_pytorch_peer_has_as_many_parameters(config):
    import torch

    from benchmarks.contenders.torch_realnvp import TorchContender

    theirs = TorchContender(config, "", torch.device("cpu"))
    assert theirs.num_parameters == flow_model(config).num_parameters


@NEEDS_TORCH
def test_the_pytorch_peer_is_the_same_function():
    """Ours with random weights, copied over: equal log-probabilities, in inference mode."""
    import numpy as np
    import torch

    from benchmarks.contenders.torch_realnvp import RealNVP

    config = dataclasses.replace(TINY, num_residual_blocks=2)
    ours, theirs = flow_model(config), RealNVP(config).eval()
    rng = np.random.default_rng(0)
    for variable in ours.variables:
        low, high = (0.5, 1.5) if "variance" in variable.path else (-0.3, 0.3)
        variable.assign(variable + rng.uniform(low, high, variable.shape))
    conditioners, moments = ours.networks[::2], ours.networks[1::2]
    with torch.no_grad():
        for coupling, conditioner, moment in zip(
            theirs.couplings, conditioners, moments, strict=True
        ):
            copy_conditioner(coupling.conditioner, conditioner)
            changed = coupling.norm.mean.numel()
            for buffer, value in zip(
                (coupling.norm.mean, coupling.norm.variance), moment.tf_variables, strict=True
            ):
                half = slice(None)
                if changed < value.shape[0]:  # Ours holds all channels, of which half change.
                    half = slice(changed, None) if coupling.keep_first else slice(changed)
                buffer.copy_(torch.tensor(value.numpy()[half])[None, :, None, None])

        images = rng.integers(0, 256, (3, *config.image_shape), dtype=np.uint8)
        noise = ours.scoring_noise(0)[0].numpy()
        actual = theirs.log_prob(
            torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(noise).permute(2, 0, 1)[None]
        )
    np.testing.assert_allclose(actual.numpy(), ours.log_prob(images).numpy(), rtol=1e-4)


def copy_conditioner(theirs, ours):
    import torch

    def put(parameter, value):
        parameter.copy_(torch.tensor(value).reshape(parameter.shape))

    def put_conv(conv, kernel, magnitude=None, bias=None):
        conv.direction.copy_(torch.tensor(kernel).permute(3, 2, 0, 1))
        for parameter, value in ((conv.magnitude, magnitude), (conv.bias, bias)):
            if value is not None:
                put(parameter, value)

    def put_norm(norm, beta, mean, variance):
        put(norm.bias, beta)
        norm.running_mean.copy_(torch.tensor(mean))
        norm.running_var.copy_(torch.tensor(variance))

    def get(variable):
        return variable.value.numpy()

    put(theirs.scale, get(ours.scale))
    put_norm(theirs.norm, get(ours.input_beta), *map(get, ours.input_moments))
    put_conv(theirs.first, get(ours.input_kernel), bias=get(ours.input_bias))
    beta, (means, variances) = get(ours.beta), map(get, ours.moments)
    kernels = get(ours.block_kernels)
    magnitudes, biases = get(ours.block_magnitude), get(ours.block_bias)
    for index, block in enumerate(theirs.blocks):
        for place, norm in enumerate((block.first_norm, block.second_norm), start=2 * index):
            put_norm(norm, beta[place], means[place], variances[place])
        put_conv(block.first, kernels[2 * index])
        put_conv(block.second, kernels[2 * index + 1], magnitudes[index], biases[index])
    skips = map(get, (ours.skip_kernels, ours.skip_magnitude, ours.skip_bias))
    for skip, *values in zip(theirs.skips, *skips, strict=True):
        put_conv(skip, *values)
    put_norm(theirs.last_norm, beta[-1], means[-1], variances[-1])
    last = map(get, (ours.output_kernel, ours.output_magnitude, ours.output_bias))
    put_conv(theirs.last, *last)
