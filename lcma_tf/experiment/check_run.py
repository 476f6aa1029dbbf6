"""What can be wrong with a run and the files that it is given, before its work starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lcma_tf.config import ConfigError, FlowConfig, TrainConfig, require
from lcma_tf.experiment.initial_flow import Decided, initial_flow
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization, evidence_of, needs_pretraining

__all__ = ["check_before_data", "check_run", "given_factorization"]


def check_before_data(flow: FlowConfig, config: TrainConfig, workdir: Workdir) -> None:
    """Asks all of a run that can be asked before its images are read, which may take an hour.

    Args:
        flow: of the run, but for what the images decide.
        config, workdir: of the run.

    Raises:
        ConfigError: `exit_prior` would have no effect; or as `check_run` says.
        FactorizationError, ModelFileError, WorkdirError: as `check_run` says.
    """
    config = check_run(flow, config, workdir)
    # Of a new run alone: of one begun by an earlier version it had no effect. And not of the runs of a
    # study, which gives one flow to all its rules.
    if not workdir.config.exists():
        rule = "'standard' where nothing exits, as with split_rule='none' or one scale"
        has_effect = flow.exit_prior == "standard" or _something_exits(flow, config)
        require(has_effect, "exit_prior", rule, flow.exit_prior)


def check_run(
    flow: FlowConfig,
    config: TrainConfig,
    workdir: Workdir,
    fingerprint: Mapping[str, Any] | None = None,
) -> TrainConfig:
    """Raises unless a run may begin, or go on, in its folder and with the files that it is given.

    Args:
        flow: of the run; without a fingerprint but for what the images decide.
        config, workdir: of the run.
        fingerprint: of its images (`ImageData.fingerprint`); None = they are not read yet.

    Returns:
        The config as the run has it: the rule is that of the factorization that it is given.

    Raises:
        ConfigError: there is no flow at `initialize_from`, or one of another kind; `split_rule` is not
            that of the given factorization; or there is nothing to pretrain for.
        FactorizationError: there is none at `factorization_path`, one of other images, or a rule that
            is gone.
        ModelFileError: the flow at `initialize_from` is damaged.
        WorkdirError: the folder is not, and cannot be, this run's.
    """
    workdir.check_place()
    before_data, is_new = fingerprint is None, not workdir.config.exists()
    given = given_factorization(flow, config, of_any_shape=before_data)
    if given is not None:
        config = config.ruled_by(given.rule)
    if not is_new:
        there = _for_images_of(workdir.read_configs()[0], flow) if before_data else flow
        if there is not None:
            workdir.check(there, config, fingerprint or workdir.read_fingerprint())
    if given is None and not workdir.factorization.exists():
        evidence_of(config.split_rule)  # Refuses a rule that is gone.
        _check_something_splits(flow, config)
    if is_new and config.initialize_from is not None:
        splits = _something_exits(flow, config)
        decided = Decided(splits, config.channel_rotation != "none", config.whitening != "none")
        if given is not None:
            decided = Decided.of(given)
        initial_flow(config.initialize_from, flow, decided, of_any_shape=before_data)
    return config


def given_factorization(
    flow: FlowConfig, config: TrainConfig, *, of_any_shape: bool = False
) -> Factorization | None:
    """What is at `factorization_path`, if the run is given one.

    Args:
        flow, config: of the run.
        of_any_shape: whether `flow.image_shape` says nothing yet.

    Raises:
        FactorizationError: there is none, or one of other images or of another number of scales.
    """
    if config.factorization_path is None:
        return None
    given = Factorization.load(config.factorization_path)
    given.check_fits(given.image_shape if of_any_shape else flow.image_shape, flow.num_scales)
    return given


def _something_exits(flow: FlowConfig, config: TrainConfig) -> bool:
    return config.split_rule != "none" and flow.num_scales > 1


def _check_something_splits(flow: FlowConfig, config: TrainConfig) -> None:
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
