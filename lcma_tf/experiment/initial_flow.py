"""Another run's flow to begin a training with."""

from __future__ import annotations

import dataclasses
import os
from typing import NamedTuple

from lcma_tf.config import ConfigError, FlowConfig, require
from lcma_tf.factorization import Factorization
from lcma_tf.model import FlowModel, load

__all__ = ["Decided", "initial_flow"]

# All others decide its variables, in number or in meaning.
_MAY_DIFFER = ("weight_scale_l2", "mixed_precision", "real_valued", "original_shape", "seed")


class Decided(NamedTuple):
    """What of a factorization the weights of a flow have learned to live with.

    Args:
        splits: whether dimensions leave the flow at its scales; networks are others where none does.
        turns: whether the channels of its images are turned first, if there are several.
        whitens: whether its images are whitened; with what is this run's matter, as its rotation is.
    """

    splits: bool
    turns: bool
    whitens: bool

    @classmethod
    def of(cls, factorization: Factorization) -> Decided:
        """What of `factorization` itself."""
        turns = factorization.rotation(0) is not None
        return cls(bool(factorization.masks), turns, factorization.whitening is not None)


def initial_flow(
    path: str | os.PathLike[str],
    flow: FlowConfig,
    decided: Decided,
    *,
    of_any_shape: bool = False,
) -> FlowModel:
    """The flow at `path`, if its weights suit a flow of config `flow`.

    Args:
        path: a finished run, or a `.keras` file.
        decided: of the run that begins.
        of_any_shape: whether `flow.image_shape` says nothing yet.

    Raises:
        ConfigError: there is no flow, or one of another kind.
        ModelFileError: it is damaged.
    """
    # Their networks have learned one split's masks, and this run's may be others, or not yet decided.
    follows = decided.splits and flow.coupling_masks == "aligned"
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
    named = [("splits", "splits"), ("its images whitened", "whitens")]
    if model.config.image_shape[-1] > 1:  # Of one channel there is nothing to turn.
        named.append(("its channels turned", "turns"))
    for what, name in named:
        ours, theirs = getattr(decided, name), getattr(Decided.of(model.factorization), name)
        rule = f"the run of a flow {'with' if ours else 'without'} {what}, as this one"
        require(ours == theirs, "initialize_from", rule, os.fspath(path))
    return model
