"""What `metrics.json` says of a trained flow."""

from __future__ import annotations

import concurrent.futures
import functools
import time
from typing import Any

import numpy as np

from lcma_tf import data as data_lib
from lcma_tf.config import TrainConfig
from lcma_tf.data import ImageData, without_padding
from lcma_tf.experiment.evaluation import (
    bits_per_dim_of_split,
    count_exact_reconstructions,
    standard_error,
)
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization, decide_factorization
from lcma_tf.model.density import ImageDensity
from lcma_tf.training.probe import probe

__all__ = ["agreement_with_realnvp", "has_onednn", "measure"]

_MAX_CODEC_IMAGES = 2_000  # Lossless WebP takes some 20 ms an image.
_MAX_RECONSTRUCTIONS = 1_000


def agreement_with_realnvp(factorization: Factorization) -> tuple[float, ...]:
    """For every mask the share of dimensions that the static rule treats the same way."""
    static = decide_factorization(
        "realnvp",
        image_shape=factorization.image_shape,
        num_scales=len(factorization.masks) + 1,
    )
    return factorization.agreement(static)


def measure(
    flow: ImageDensity, config: TrainConfig, data: ImageData, workdir: Workdir
) -> dict[str, Any]:
    """Scores the test and validation images, asks codecs for theirs, and probes how exact the flow is.

    Args:
        flow: of the run that `workdir` holds.
        config, data: of that run.
    """
    started = time.perf_counter()
    asked = (config.batch_size, config.seed)
    scores = bits_per_dim_of_split(flow, data.test, *asked, split="test")
    seconds = time.perf_counter() - started
    splits = (data.test, data.validation, data.train)
    originals = np.concatenate([s[:_MAX_RECONSTRUCTIONS] for s in splits])[:_MAX_RECONSTRUCTIONS]
    with concurrent.futures.ThreadPoolExecutor(1) as beside:  # Graphs are made on one core.
        codecs = beside.submit(_codec_bits_per_dim, data)
        validation = bits_per_dim_of_split(flow, data.validation, *asked, split="validation")
        exact = count_exact_reconstructions(flow, originals, config.batch_size)
        probed = probe(flow, data.validation).by_column()
    factorization = Factorization.load(workdir.factorization)
    pretrain_steps = 0  # Beyond `steps`, of which one run's are the first.
    is_apart = config.factorize_at_step is None
    if is_apart and workdir.contributions.exists():  # Of here, or of one that was shared.
        pretraining = workdir.files("pretrain")
        pretrain_steps = pretraining.steps_of_result(config.pretrain_steps) or config.pretrain_steps
    return {
        "test_bits_per_dim": float(scores.mean()),
        "test_bits_per_dim_standard_error": standard_error(scores),
        "validation_bits_per_dim": float(validation.mean()),
        **codecs.result(),
        "split_rule": factorization.rule,
        "seed": config.seed,
        "steps": config.train_steps,
        "pretrain_steps": pretrain_steps,
        "factorize_at_step": config.factorize_at_step,  # The first of `steps`, without splits.
        "dataset": config.dataset,
        "dataset_description": data.description,
        "jpeg_method": data.jpeg_method,
        "test_images": len(data.test),
        "num_dimensions": flow.config.num_dimensions,
        "mask_agreement_with_realnvp": list(agreement_with_realnvp(factorization)),
        "exact_reconstructions": exact,
        "reconstructed_images": len(originals),
        **probed,
        "scoring_images_per_second": len(scores) / seconds,
        "onednn": has_onednn(),
    }


def has_onednn() -> bool | None:
    """Whether convolutions on the CPU are oneDNN's, here and now; None: TensorFlow does not say."""
    try:
        from tensorflow.python.util import _pywrap_util_port  # Nothing public tells it.

        return bool(_pywrap_util_port.IsMklEnabled())
    except (ImportError, AttributeError):
        return None


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
