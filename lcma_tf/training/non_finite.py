"""Where training left the finite numbers: found at that step, named, and kept out of what is saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lcma_tf.errors import UserError
from lcma_tf.training.backup import optimizer_step

__all__ = ["NonFiniteError", "StopAtNonFinite"]

_ADVICE = (
    "Try a lower --learning_rate, more --warmup_steps, a smaller --clip_norm or a larger "
    "--batch_size, in a new --workdir"
)


class NonFiniteError(UserError, ArithmeticError):
    """A number was not finite; the message says where in the flow, at which step, and what to try."""


class StopAtNonFinite(keras.callbacks.Callback):
    """Ends training at the first number that is not finite, before anything is saved with it.

    Looked at are, after every step (after every call, with `steps_per_execution`), the parts of the
    log-density and, if the optimizer is a `FusedAdam`, the gradient; and at the end of an epoch the
    validation and every weight and moment. A `FusedAdam` takes no gradient that is not finite, so
    that the weights still tell where it began: the first network whose moments have left the finite
    numbers is the one, and the step is exact whatever `steps_per_execution`. With another optimizer
    the weights may be spoiled by then; the parts alone are looked at, and the step may be any of the
    call.

    Args:
        part_names: the parts of the log-density, `FlowModel.part_names`.
        is_backed_up: whether each epoch's state is saved by a callback after this one; the message
            then says which is kept.

    Raises:
        NonFiniteError: from `on_train_batch_end` or `on_epoch_end`.
    """

    def __init__(self, part_names: Sequence[str], is_backed_up: bool = False):
        super().__init__()
        # In the order of the computation, from the data to the latents: the first one is the cause.
        self._parts = ["pixel", *(n for n in part_names if n not in ("pixel", "latent")), "latent"]
        self._is_backed_up = is_backed_up
        self._saved_step = 0

    def on_train_begin(self, logs=None):
        self._saved_step = optimizer_step(self.model)

    def on_train_batch_end(self, batch, logs=None):
        found = _found_by(self.model.optimizer)
        when = self._steps_of_call() if found is None else f"step {found[0]}"
        self._check_parts(logs or {}, "", when)
        if found is not None:
            raise self._error(f"The gradient was not finite at {when}, first in {found[1]}")

    def on_epoch_end(self, epoch, logs=None):
        when = f"the validation after step {optimizer_step(self.model)}"
        self._check_parts(logs or {}, "val_", when)
        name = _first_spoiled_network(self.model)
        if name is not None:
            raise self._error(
                f"A weight or a moment of {name} was not finite after "
                f"step {optimizer_step(self.model)}"
            )
        self._saved_step = optimizer_step(self.model)

    def _check_parts(self, logs: Mapping[str, Any], prefix: str, when: str) -> None:
        for part in self._parts:
            value = float(logs.get(prefix + part, 0.0))
            if not math.isfinite(value):
                where = {
                    "pixel": "the pixel transform",
                    "latent": "the latent density",
                }.get(part, f"flow layer {part.removeprefix('layer_')}")
                network = _first_spoiled_network(self.model)
                first = "" if network is None else f", first in {network}"
                raise self._error(f"The log-density of {where} became {value} at {when}{first}")

    def _steps_of_call(self) -> str:
        last = optimizer_step(self.model)
        length = getattr(self.model, "steps_per_execution", 1)
        return f"step {last}" if length == 1 else f"one of the steps {last - length + 1} to {last}"

    def _error(self, what: str) -> NonFiniteError:
        kept = ""
        if self._is_backed_up:
            kept = "; no checkpoint was saved before"
            if self._saved_step:
                kept = f"; the checkpoint of step {self._saved_step} is kept"
        return NonFiniteError(f"{what}. {_ADVICE}{kept}.")


def _found_by(optimizer: Any) -> tuple[int, str] | None:
    """The first step whose gradient was not finite, and the network in which it began."""
    find = getattr(optimizer, "first_non_finite", None)
    found = None if find is None else find()
    return None if found is None else (found[0], _network_of(found[1]))


def _first_spoiled_network(model: Any) -> str | None:
    """The first network, from the data to the latents, with a weight or moment that is not finite."""
    for variable in getattr(model, "weights", ()):
        if not np.isfinite(np.asarray(variable)).all():
            return _network_of(variable)
    return None


def _network_of(variable: keras.Variable) -> str:
    return variable.path.rpartition("/")[0] or variable.path
