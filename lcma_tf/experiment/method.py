"""The paper's method as functions: no flags, and no folder unless one is asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator

import numpy as np

from lcma_tf.config import FlowConfig, TrainConfig, require, require_kind
from lcma_tf.data import ImageData, from_array
from lcma_tf.distribute.strategy import Runtime, RuntimeConfig
from lcma_tf.experiment.run import Run
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization
from lcma_tf.model import FlowModel
from lcma_tf.plots import require_matplotlib

__all__ = ["learn_factorization", "train"]


def train(
    config: FlowConfig,
    images: np.ndarray | ImageData,
    train_config: TrainConfig | None = None,
    *,
    workdir: str | os.PathLike[str] | None = None,
    runtime: RuntimeConfig | None = None,
) -> FlowModel:
    """The whole pipeline of Das et al. 2019: pretrain, average, decide, train.

    What `python -m lcma_tf.train` does, as a function.

    Args:
        config: the flow.
        images: the training set, uint8 `[N, H, W, C]`, pixels 0..255, of the flow's `image_shape`: its
            last tenth are the test images, a tenth of the rest, before them, the validation. Or an
            `lcma_tf.data.ImageData`, with splits of its own.
        train_config: split rule, steps, optimizer, seed; None = `TrainConfig()`. Its fields about data
            are not read.
        workdir: a folder in which all is kept, evaluated and drawn, and where the same call goes on
            after an interruption; None = nothing is kept but what is returned.
        runtime: devices and speed.

    Returns:
        The state with the lowest bits/dim on the validation images, recalibrated.

    Raises:
        ConfigError, DataError, FactorizationError, WorkdirError: before work begins.
        MissingExtraError: matplotlib is not installed, with which a workdir's pictures are drawn.
        BackupError: what the workdir has cannot be gone on from.
        NonFiniteError: training left the finite numbers.
        SaveError: a file could not be written; what was saved before is kept.
    """
    if workdir is not None:
        require_matplotlib()
    with _run(config, images, train_config, workdir, runtime) as run:
        model = run.train(run.decide())
        if workdir is not None:
            run.finish(model)
        return model


def learn_factorization(
    config: FlowConfig,
    images: np.ndarray | ImageData,
    train_config: TrainConfig | None = None,
    *,
    workdir: str | os.PathLike[str] | None = None,
    runtime: RuntimeConfig | None = None,
) -> Factorization:
    """Which dimensions leave the flow where, decided by the data (Das et al. 2019, section 3).

    Trains a flow that nothing leaves for `train_config.pretrain_steps`, or, as the first part of one
    run, for `train_config.factorize_at_step`; averages what each dimension contributes to the log-det
    (`lcma_tf.average_contributions`), and lets the rule `train_config.split_rule` decide
    (`lcma_tf.decide_factorization`). A rule that reads no contributions decides at once. Arguments and
    errors as `train`, which goes on from here where it is given the same `workdir`.
    """
    with _run(config, images, train_config, workdir, runtime) as run:
        return run.decide()


@contextlib.contextmanager
def _run(config, images, train_config, workdir, runtime) -> Iterator[Run]:
    require_kind("config", config, FlowConfig)
    require_kind("train_config", train_config, TrainConfig, or_none=True)
    require_kind("runtime", runtime, RuntimeConfig, or_none=True)
    data = images if isinstance(images, ImageData) else from_array(images)
    train_config = train_config or TrainConfig()
    train_config = dataclasses.replace(train_config, dataset=data.name).with_absolute_paths()
    rule = "uint8 pixels 0..255, or `real_valued` be True in the config"
    require(config.real_valued or not data.is_real_valued, "images", rule, "float32")
    for field, value in data.flow_options().items():
        asked = getattr(config, field)
        require(asked == value, field, f"that of the images, {value!r}", asked)
    with contextlib.ExitStack() as stack:
        if workdir is None:
            workdir = stack.enter_context(tempfile.TemporaryDirectory(prefix="lcma_tf_"))
        opened = Runtime.open(runtime or RuntimeConfig(), train_config.batch_size)
        run = Run(config, train_config, data, Workdir(workdir), opened)
        stack.enter_context(run.claimed())
        yield run
