"""What can be wrong with a run before its images are known: they may take an hour to be read."""

from __future__ import annotations

import dataclasses

from lcma_tf.config import ConfigError, FlowConfig, TrainConfig
from lcma_tf.experiment.initial_flow import initial_flow
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization

__all__ = ["check_before_data"]


def check_before_data(flow: FlowConfig, config: TrainConfig, workdir: Workdir) -> None:
    """Looks at the folder of a run and at the files that it is given. With the images `Run` asks again.

    Args:
        flow: of the run, but for what the images decide.
        config, workdir: of the run.

    Raises:
        ConfigError: `initialize_from` is none to begin with, or `split_rule` not that of the file.
        FactorizationError: nor is `factorization_path`.
        ModelFileError: a flow to begin with is damaged.
        WorkdirError: the folder is not, and cannot be, this run's.
    """
    workdir.check_place()
    if config.factorization_path is not None:
        given = Factorization.load(config.factorization_path)
        given.check_fits(given.image_shape, flow.num_scales)
        config = config.ruled_by(given.rule)
    if workdir.config.exists():
        there, _ = workdir.read_configs()
        if (like_there := _for_images_of(there, flow)) is not None:
            workdir.check(like_there, config, workdir.read_fingerprint())
    elif config.initialize_from is not None:
        splits = config.split_rule != "none" and flow.num_scales > 1
        initial_flow(config.initialize_from, flow, splits, of_any_shape=True)


def _for_images_of(there: FlowConfig, flow: FlowConfig) -> FlowConfig | None:
    """`flow` for the images of another; None where they do not suit it."""
    names = ("image_shape", "original_shape", "real_valued")
    try:
        return dataclasses.replace(flow, **{name: getattr(there, name) for name in names})
    except ConfigError:
        return None
