"""Where a phase stands in a training that has two: before the split is decided, and after it."""

from __future__ import annotations

import dataclasses
import pathlib

from lcma_tf.training.history import FACTORIZED, read_history

__all__ = ["Part"]


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a training, or all of it: steps, learning rate, data, noise and history go on in it.

    Args:
        first_step: optimizer steps of the training that come before this part.
        run_steps: those of the whole training, over which the schedule of the learning rate goes; None =
            the phase is all of it.
        history: that of the part before, with which the history of this one begins; None = it is the
            first.
    """

    first_step: int = 0
    run_steps: int | None = None
    history: pathlib.Path | None = None

    @property
    def marks(self) -> dict[str, float]:
        """What each line of the history says of the part: whether the split has been decided."""
        return {} if self.run_steps is None else {FACTORIZED: float(self.first_step > 0)}

    def lines_before(self) -> list[dict]:
        """The history of the part before, a line an epoch."""
        return [] if self.history is None else read_history(self.history)
