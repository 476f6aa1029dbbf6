"""Figure 2 of the paper as a run: pretrain, average, decide, train, evaluate, draw.

Each phase leaves one file in the workdir when it is done, whole or not at all; a phase whose file is
there is not run again. So a run that was stopped anywhere goes on where it was.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lcma_tf import data as data_lib
from lcma_tf import pictures
from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.contribution import average_contributions, load_contributions, save_contributions
from lcma_tf.data import ImageData
from lcma_tf.density import ImageDensity
from lcma_tf.devices import RuntimeConfig, make_strategy
from lcma_tf.evaluation import bits_per_dim_of_split, count_exact_reconstructions
from lcma_tf.factorization import Factorization, decide_factorization, needs_contributions
from lcma_tf.training import train_flow
from lcma_tf.workdir import Workdir, write_json

__all__ = ["run_experiment"]

_MAX_CODEC_IMAGES = 2_000  # Lossless WebP takes some 20 ms an image.
_MAX_RECONSTRUCTIONS = 1_000


def run_experiment(
    flow_config: FlowConfig,
    config: TrainConfig,
    data: ImageData,
    workdir: Workdir,
    runtime: RuntimeConfig,
) -> dict[str, Any]:
    """Runs, or finishes, the whole pipeline; returns what it wrote into `metrics.json`.

    Raises:
        ConfigError, DataError, FactorizationError, WorkdirError: before anything is written.
        NonFiniteError: training left the finite numbers.
    """
    workdir.check(flow_config, config)
    data_lib.check_training_batches(data.train, config.batch_size)
    runtime.check_fits(config)
    make_strategy(runtime.num_devices, config.batch_size)
    given = None
    if config.factorization_path is not None:
        given = Factorization.load(config.factorization_path)
        given.check_fits(flow_config.image_shape, flow_config.num_scales)
    workdir.claim(flow_config, config)

    factorization = _decide(flow_config, config, data, workdir, runtime, given)
    _say(f"train: {config.train_steps} steps with rule '{factorization.rule}'")
    model = train_flow(
        flow_config,
        factorization,
        data,
        config,
        config.train_steps,
        workdir.phase("train"),
        workdir.model,
        runtime,
    )
    flow = model.frozen()
    metrics = workdir.read_metrics()
    if not metrics:
        _say("evaluate")
        metrics = _evaluate(flow, config, data, factorization, workdir)
        metrics["num_parameters"] = model.num_parameters
        write_json(workdir.metrics, metrics)
    if not (workdir.path / pictures.LAST).exists():
        _say("draw")
        pictures.draw_run(flow, factorization, data, workdir, metrics)
    return metrics


def _decide(flow_config, config, data, workdir, runtime, given) -> Factorization:
    """The factorization of the run: the one it has, the one it was given, or one decided now."""
    if workdir.factorization.exists():
        return Factorization.load(workdir.factorization)
    factorization = given
    if factorization is None:
        contributions = None
        if needs_contributions(config.split_rule):
            contributions = _pretrain(flow_config, config, data, workdir, runtime)
        factorization = decide_factorization(
            config.split_rule,
            image_shape=flow_config.image_shape,
            num_scales=flow_config.num_scales,
            contributions=contributions,
            seed=config.seed,
        )
    factorization.save(workdir.factorization)
    for scale, share in enumerate(agreement_with_realnvp(factorization), start=1):
        _say(f"mask_{scale} agrees with the static 'realnvp' mask on {share:.1%} of dimensions")
    return factorization


def _pretrain(flow_config, config, data, workdir, runtime) -> list[np.ndarray]:
    if workdir.contributions.exists():
        return load_contributions(workdir.contributions)
    _say(f"pretrain: {config.pretrain_steps} steps without multi-scale")
    directory = workdir.phase("pretrain")
    model = train_flow(
        flow_config,
        Factorization("none", flow_config.image_shape),
        data,
        config,
        config.pretrain_steps,
        directory,
        directory / "model.keras",
        runtime,
    )
    _say("average the log-det terms over the training set")
    contributions = average_contributions(model, data.train, config.batch_size, config.seed)
    save_contributions(workdir.contributions, contributions)
    return contributions


def agreement_with_realnvp(factorization: Factorization) -> tuple[float, ...]:
    """For every mask the share of dimensions that the static rule treats the same way."""
    static = decide_factorization(
        "realnvp",
        image_shape=factorization.image_shape,
        num_scales=len(factorization.masks) + 1,
    )
    return factorization.agreement(static)


def _evaluate(
    flow: ImageDensity,
    config: TrainConfig,
    data: ImageData,
    factorization: Factorization,
    workdir: Workdir,
) -> dict[str, Any]:
    started = time.perf_counter()
    scores = bits_per_dim_of_split(flow, data.test, config.batch_size, config.seed)
    seconds = time.perf_counter() - started
    validation = bits_per_dim_of_split(flow, data.validation, config.batch_size, config.seed)
    splits = (data.test, data.validation, data.train)
    originals = np.concatenate([s[:_MAX_RECONSTRUCTIONS] for s in splits])[:_MAX_RECONSTRUCTIONS]
    coded = data.test[:_MAX_CODEC_IMAGES]
    pretrained = workdir.contributions.exists()
    metrics = {
        "test_bits_per_dim": float(scores.mean()),
        "test_bits_per_dim_standard_error": float(scores.std(ddof=1) / np.sqrt(len(scores)))
        if len(scores) > 1
        else None,
        "validation_bits_per_dim": float(validation.mean()),
        "png_bits_per_dim": None,
        "webp_bits_per_dim": None,
        "codec_images": len(coded),
        "split_rule": factorization.rule,
        "seed": config.seed,
        "steps": config.train_steps,
        "pretrain_steps": config.pretrain_steps if pretrained else 0,
        "dataset": config.dataset,
        "jpeg_method": data.jpeg_method,
        "test_images": len(data.test),
        "mask_agreement_with_realnvp": list(agreement_with_realnvp(factorization)),
        "exact_reconstructions": count_exact_reconstructions(flow, originals, config.batch_size),
        "reconstructed_images": len(originals),
        "scoring_images_per_second": len(scores) / seconds,
    }
    if data.image_shape[-1] in (1, 3):
        for codec in ("png", "webp"):
            metrics[f"{codec}_bits_per_dim"] = data_lib.codec_bits_per_dim(coded, codec)
    for name in ("test", "validation", "png", "webp"):
        value = metrics[f"{name}_bits_per_dim"]
        if value is not None:
            _say(f"{name}: {value:.4f} bits/dim")
    return metrics


def _say(line: str) -> None:
    print(f"[lcma_tf] {line}", flush=True)
