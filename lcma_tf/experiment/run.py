"""Figure 2 of the paper as a run: pretrain, average, decide, train, evaluate, draw.

Each phase leaves one file in the workdir when it is done, whole or not at all; a phase whose file is
there is not run again. So a run that was stopped anywhere goes on where it was.
"""

from __future__ import annotations

import contextlib
import functools
import time
from typing import Any

import numpy as np

from lcma_tf import data as data_lib
from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.data import ImageData, without_padding
from lcma_tf.data.image_data import SPLITS
from lcma_tf.distribute.strategy import RuntimeConfig, make_strategy
from lcma_tf.distribute.workers import Workers
from lcma_tf.experiment import pictures
from lcma_tf.experiment.evaluation import (
    bits_per_dim_of_split,
    count_exact_reconstructions,
    standard_error,
)
from lcma_tf.experiment.workdir import Workdir, write_json
from lcma_tf.factorization import Factorization, decide_factorization, needs_contributions
from lcma_tf.files.paths import kind_of_dataset
from lcma_tf.model import FlowModel
from lcma_tf.model.density import ImageDensity
from lcma_tf.say import say
from lcma_tf.training.contributions import (
    average_contributions,
    load_contributions,
    save_contributions,
)
from lcma_tf.training.phase import train_flow
from lcma_tf.training.probe import probe

__all__ = ["agreement_with_realnvp", "pretrain", "run_experiment"]

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

    With several workers (`lcma_tf.distribute.workers`) all call this; `workdir` is the chief's, and the
    others need none.

    Raises:
        ConfigError, DataError, FactorizationError, WorkdirError: before anything is written.
        BackupError: what was saved before cannot be read.
        NonFiniteError: training left the finite numbers.
        SaveError: a file could not be written; what was saved before is kept.
        WorkerError: another worker failed.
    """
    data_lib.check_training_batches(data.train, config.batch_size)
    runtime.check_fits(config)
    workers = Workers(make_strategy(runtime.num_devices, config.batch_size))
    with workers.in_touch(), contextlib.ExitStack() as held:
        workers.check_equal(lambda: _description(flow_config, config, data, runtime))
        given = workers.on_chief(lambda: _begin(flow_config, config, data, workdir, held))
        factorization = _decide(flow_config, config, data, workdir, runtime, given, workers)
        if workers.is_chief:
            say(f"train: {config.train_steps} steps with rule '{factorization.rule}'")
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
        return workers.on_chief(lambda: _finish(model, config, data, workdir))


def _description(flow_config, config, data, runtime) -> dict[str, Any]:
    """What the workers of one run must have in common, by name."""
    own = ("data_dir", "factorization_path")  # Where files are on this host.
    shared = {name: value for name, value in config.to_dict().items() if name not in own}
    return {
        **flow_config.to_dict(),
        **shared,
        "dataset": kind_of_dataset(config.dataset),
        "steps_per_execution": runtime.steps_per_execution,
        **{f"images of {split}": found for split, found in data.fingerprint.items()},
    }


def _begin(flow_config, config, data, workdir, held) -> dict[str, Any] | None:
    """Claims the workdir; returns the factorization that the run was given, as a dict, or None.

    Other processes are kept out of it until `held` is closed.
    """
    workdir.check(flow_config, config, data.fingerprint)
    given = None
    if config.factorization_path is not None:
        factorization = Factorization.load(config.factorization_path)
        factorization.check_fits(flow_config.image_shape, flow_config.num_scales)
        given = factorization.to_dict()
    held.enter_context(workdir.locked())
    # Again: until now another run may have claimed it.
    workdir.check(flow_config, config, data.fingerprint)
    workdir.claim(flow_config, config, data.fingerprint)
    counts = " / ".join(f"{len(getattr(data, split)):,}" for split in SPLITS)
    say(f"data: {data.name}, {counts} images for {', '.join(SPLITS)}. {data.description}".strip())
    return given


def _finish(model: FlowModel, config, data, workdir) -> dict[str, Any]:
    """Evaluates and draws what is not there yet; returns the metrics."""
    flow = model.frozen()
    metrics = workdir.read_metrics()
    if not metrics:
        say("evaluate")
        metrics = _evaluate(flow, config, data, model.factorization, workdir)
        metrics["num_parameters"] = model.num_parameters
        write_json(workdir.metrics, metrics)
    if not (workdir.path / pictures.LAST).exists():
        say("draw")
        pictures.draw_run(flow, model.factorization, data, workdir, metrics)
    return metrics


def _decide(flow_config, config, data, workdir, runtime, given, workers) -> Factorization:
    """The factorization of the run: the one it has, the one it was given, or one decided now."""
    if not workers.on_chief(workdir.factorization.exists):
        pretrains = given is None and needs_contributions(config.split_rule)
        if pretrains:
            _pretrain(flow_config, config, data, workdir, runtime, workers)

        def decide():
            factorization = (
                Factorization.from_dict(given)
                if given is not None
                else decide_factorization(
                    config.split_rule,
                    image_shape=flow_config.image_shape,
                    num_scales=flow_config.num_scales,
                    contributions=load_contributions(workdir.contributions) if pretrains else None,
                    seed=config.seed,
                )
            )
            factorization.save(workdir.factorization)
            for scale, share in enumerate(agreement_with_realnvp(factorization), start=1):
                say(
                    f"mask_{scale} agrees with the static 'realnvp' mask on {share:.1%} of dimensions"
                )

        workers.on_chief(decide)
    found = workers.on_chief(lambda: Factorization.load(workdir.factorization).to_dict())
    return Factorization.from_dict(found)


def pretrain(
    flow_config: FlowConfig,
    config: TrainConfig,
    data: ImageData,
    workdir: Workdir,
    runtime: RuntimeConfig,
) -> list[np.ndarray]:
    """The contributions of every flow layer (`average_contributions`), from a flow without splits.

    What is in `workdir` already is not made again. The rule and the steps of the training that is to
    follow have no part in it. For one worker: `run_experiment` is for several.

    Raises:
        NonFiniteError: training left the finite numbers.
    """
    workers = Workers(make_strategy(runtime.num_devices, config.batch_size))
    _pretrain(flow_config, config, data, workdir, runtime, workers)
    return load_contributions(workdir.contributions)


def _pretrain(flow_config, config, data, workdir, runtime, workers) -> None:
    """Leaves `workdir.contributions` on the chief."""
    if workers.on_chief(workdir.contributions.exists):
        return
    if workers.is_chief:
        say(f"pretrain: {config.pretrain_steps} steps without multi-scale")
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

    def average():
        say("average the log-det terms over the training set")
        contributions = average_contributions(model, data.train, config.batch_size, config.seed)
        save_contributions(workdir.contributions, contributions)

    workers.on_chief(average)


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
    pretrained = workdir.contributions.exists()
    metrics = {
        "test_bits_per_dim": float(scores.mean()),
        "test_bits_per_dim_standard_error": standard_error(scores),
        "validation_bits_per_dim": float(validation.mean()),
        **_codec_bits_per_dim(data),
        "split_rule": factorization.rule,
        "seed": config.seed,
        "steps": config.train_steps,
        "pretrain_steps": config.pretrain_steps if pretrained else 0,
        "dataset": config.dataset,
        "dataset_description": data.description,
        "jpeg_method": data.jpeg_method,
        "test_images": len(data.test),
        "num_dimensions": flow.config.num_dimensions,
        "mask_agreement_with_realnvp": list(agreement_with_realnvp(factorization)),
        "exact_reconstructions": count_exact_reconstructions(flow, originals, config.batch_size),
        "reconstructed_images": len(originals),
        **probe(flow, data.validation).by_column(),
        "scoring_images_per_second": len(scores) / seconds,
    }
    for name in ("test", "validation", "png", "webp"):
        value = metrics[f"{name}_bits_per_dim"]
        if value is not None:
            say(f"{name}: {value:.4f} bits/dim")
    return metrics


@functools.lru_cache(maxsize=1)  # A study scores one data set, the same object, many times.
def _codec_bits_per_dim(data: ImageData) -> dict[str, Any]:
    """What lossless codecs make of the first test images; None for what a picture file cannot hold."""
    coded = without_padding(data.test[:_MAX_CODEC_IMAGES], data.original_shape)
    is_picture = data.image_shape[-1] in (1, 3) and not data.is_real_valued
    figures = {
        f"{codec}_bits_per_dim": data_lib.codec_bits_per_dim(coded, codec) if is_picture else None
        for codec in ("png", "webp")
    }
    return {**figures, "codec_images": len(coded)}
