"""Another run's flow to begin a training with."""

from __future__ import annotations

import dataclasses
import os

from lcma_tf.config import ConfigError, FlowConfig, require
from lcma_tf.model import FlowModel, load

__all__ = ["initial_flow"]

# All others decide its variables, in number or in meaning.
_MAY_DIFFER = ("weight_scale_l2", "mixed_precision", "real_valued", "original_shape", "seed")


def initial_flow(
    path: str | os.PathLike[str],
    flow: FlowConfig,
    splits: bool,
    turns: bool,
    *,
    of_any_shape: bool = False,
) -> FlowModel:
    """The flow at `path`, if its weights suit a flow of config `flow`.

    Args:
        path: a finished run, or a `.keras` file.
        splits: whether dimensions leave the flow at its scales; networks are others where none does.
        turns: whether the channels of its images are turned first, if there are several.
        of_any_shape: whether `flow.image_shape` says nothing yet.

    Raises:
        ConfigError: there is no flow, or one of another kind.
        ModelFileError: it is damaged.
    """
    # Their networks have learned one split's masks, and this run's may be others, or not yet decided.
    follows = splits and flow.coupling_masks == "aligned"
    rule = "None where coupling_masks='aligned', whose networks belong to the masks of one split"
    require(not follows, "initialize_from", rule, os.fspath(path))
    try:
        model = load(path)
    except FileNotFoundError as error:
        raise ConfigError(
            "`initialize_from` must be a finished run, with a whole model.keras in it, or such a file; "
            f"got {os.fspath(path)!r}."
        ) from error
    may_differ = (*_MAY_DIFFER, *(("image_shape",) if of_any_shape else ()))
    names = (field.name for field in dataclasses.fields(flow))
    for name in (name for name in names if name not in may_differ):
        ours, theirs = getattr(flow, name), getattr(model.config, name)
        rule = f"the run of a flow with {name}={ours!r}, as this one"
        require(
            ours == theirs, "initialize_from", rule, f"{os.fspath(path)} with {name}={theirs!r}"
        )
    decided = model.factorization
    compared = [("splits", splits, bool(decided.masks))]
    if model.config.image_shape[-1] > 1:  # Of one channel there is nothing to turn.
        compared.append(("its channels turned", turns, decided.rotation(0) is not None))
    for what, ours, theirs in compared:
        rule = f"the run of a flow {'with' if ours else 'without'} {what}, as this one"
        require(ours == theirs, "initialize_from", rule, os.fspath(path))
    return model
