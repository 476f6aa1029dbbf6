"""What may differ where a command goes on with a run: nothing that what is done already depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lcma_tf.config import FlowConfig, TrainConfig

__all__ = ["compared", "differences_of", "in_the_way", "kept", "steps_of"]

# Where data lie does not change what comes out.
_NOT_COMPARED = ("data_dir",)
# How often it is looked at and saved.
_BOOKKEEPING = ("steps_per_epoch",)
_STEPS = ("train_steps", "pretrain_steps")
_MAY_DIFFER = (*_BOOKKEEPING, *_STEPS)


def compared(flow: FlowConfig, train: TrainConfig) -> dict[str, Any]:
    """By name the fields that tell one run from another; paths from the root."""
    # Through JSON, so that a tuple equals the list it was written as.
    train = train.with_absolute_paths()
    both = json.loads(json.dumps({**flow.to_dict(), **train.to_dict()}))
    # Earlier versions noted another rule than that of a given factorization.
    given = ("split_rule",) if both["factorization_path"] else ()
    return {name: value for name, value in both.items() if name not in (*_NOT_COMPARED, *given)}


def steps_of(train: TrainConfig, phase: str) -> int:
    """Those of the phase `pretrain` or `train`."""
    return train.train_steps if phase == "train" else train.steps_without_splits


def differences_of(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Every difference between the configs of two runs, each as `name=old there and new now`."""
    names = sorted(there.keys() | now.keys())
    return [_told(name, there, now) for name in names if there.get(name) != now.get(name)]


def in_the_way(
    there: Mapping[str, Any], now: Mapping[str, Any], is_decided: bool = False
) -> list[str]:
    """The differences for which a run cannot go on, with what speaks against them.

    How often is validated and saved may change, and steps may be added where the learning rate does
    not depend on their number.

    Args:
        there: the fields of the run's configs, by name.
        now: those that were asked for.
        is_decided: whether the run has its factorization, so that no pretraining is left to do.
    """
    fixed = [{k: v for k, v in values.items() if k not in _MAY_DIFFER} for values in (there, now)]
    reasons = {name: _against_steps(name, there, now, is_decided) for name in _STEPS}
    of_steps = [f"{_told(name, there, now)} ({why})" for name, why in reasons.items() if why]
    return differences_of(*fixed) + of_steps


def kept(there: Mapping[str, Any], now: Mapping[str, Any], is_decided: bool) -> dict[str, Any]:
    """The fields of the run that goes on: its own, and what `now` may change of them."""
    names = [*_BOOKKEEPING, *(name for name in _STEPS if name == "train_steps" or not is_decided)]
    return {**there, **{name: now[name] for name in names}}


def _told(name: str, there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return f"{name}={there.get(name)!r} there and {now.get(name)!r} now"


def _against_steps(
    name: str, there: Mapping[str, Any], now: Mapping[str, Any], is_decided: bool
) -> str | None:
    """What speaks against the number of steps that is asked for now; None if nothing does."""
    if now[name] == there[name]:
        return None
    if name == "pretrain_steps" and now.get("factorize_at_step") is not None:
        return None  # It is not read.
    if name == "pretrain_steps" and is_decided:
        # The default follows `train_steps`, which may have grown since the pretraining.
        is_default = now[name] == now["train_steps"]
        return None if is_default else "the pretraining is over, the factorization decided"
    if now[name] < there[name]:
        return "it can only grow"
    schedule = there["learning_rate_schedule"]
    return (
        None
        if schedule == "constant"
        else f"it is what the {schedule} of the learning rate ends at"
    )
