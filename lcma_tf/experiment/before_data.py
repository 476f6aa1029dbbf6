"""What can be wrong with a run before its images are known: they may take an hour to be read."""

from __future__ import annotations

import dataclasses

from lcma_tf.config import ConfigError, FlowConfig, TrainConfig, require
from lcma_tf.experiment.initial_flow import initial_flow
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization, needs_pretraining

__all__ = ["check_before_data", "check_something_splits", "something_exits"]


def check_before_data(flow: FlowConfig, config: TrainConfig, workdir: Workdir) -> None:
    """Looks at the folder of a run and at the files that it is given; `Run` asks again with the images.

    Args:
        flow: of the run, but for what the images decide.
        config, workdir: of the run.

    Raises:
        ConfigError: there is no flow at `initialize_from`, or one of another kind; `split_rule` is not
            that of the given factorization; or a setting would have no effect.
        FactorizationError: there is none at `factorization_path`, or one of another number of scales.
        ModelFileError: the flow at `initialize_from` is damaged.
        WorkdirError: the folder is not, and cannot be, this run's.
    """
    workdir.check_place()
    if config.factorization_path is not None:
        given = Factorization.load(config.factorization_path)
        given.check_fits(given.image_shape, flow.num_scales)
        config = config.ruled_by(given.rule)
    elif not workdir.factorization.exists():
        check_something_splits(flow, config)
    splits = something_exits(flow, config)
    rule = "'standard' where nothing exits, as with split_rule='none' or one scale"
    require(splits or flow.exit_prior == "standard", "exit_prior", rule, flow.exit_prior)
    if workdir.config.exists():
        there, _ = workdir.read_configs()
        if (like_there := _for_images_of(there, flow)) is not None:
            workdir.check(like_there, config, workdir.read_fingerprint())
    elif config.initialize_from is not None:
        initial_flow(config.initialize_from, flow, splits, of_any_shape=True)


def something_exits(flow: FlowConfig, config: TrainConfig) -> bool:
    """Whether dimensions leave the flow of a run before its last scale."""
    return config.split_rule != "none" and flow.num_scales > 1


def check_something_splits(flow: FlowConfig, config: TrainConfig) -> None:
    """Raises `ConfigError` if a run would pretrain for a decision that there is not: of one scale."""
    rule = f"at least 2 with split_rule={config.split_rule!r}, so that there is something to decide"
    nothing = flow.num_scales == 1 and needs_pretraining(config.split_rule)
    require(not nothing, "num_scales", rule, flow.num_scales)


def _for_images_of(there: FlowConfig, flow: FlowConfig) -> FlowConfig | None:
    """`flow` for the images of another; None where they do not suit it."""
    names = ("image_shape", "original_shape", "real_valued")
    try:
        return dataclasses.replace(flow, **{name: getattr(there, name) for name in names})
    except ConfigError:
        return None
