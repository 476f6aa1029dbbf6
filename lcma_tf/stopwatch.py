"""Where the time of a run goes: seconds by part, each second counted once."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator, Mapping

__all__ = ["STEPS", "stopwatch", "time_by_part", "timed"]

STEPS, OTHER = "steps", "other"


class _Running:
    """Parts that began and have not ended, innermost last; who is innermost has the seconds."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._parts = [OTHER]
        self._since = time.perf_counter()

    def begin(self, part: str) -> None:
        self._note()
        self._parts.append(part)

    def end(self) -> None:
        self._note()
        self._parts.pop()

    def _note(self) -> None:
        now = time.perf_counter()
        part = self._parts[-1]
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


_RUNNING: contextvars.ContextVar[_Running | None] = contextvars.ContextVar(
    "stopwatch", default=None
)


@contextlib.contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Yields the seconds that `timed` blocks take until this one ends, those outside them as `other`.

    Inside another stopwatch it has seconds of its own, which the other one counts where they begin.
    """
    running = _Running()
    token = _RUNNING.set(running)
    try:
        yield running.seconds
    finally:
        _RUNNING.reset(token)
        running.end()


@contextlib.contextmanager
def timed(part: str) -> Iterator[None]:
    """Counts the seconds of the block for `part`, but for those of other such blocks inside it."""
    running = _RUNNING.get()
    if running is None:
        yield
        return
    running.begin(part)
    try:
        yield
    finally:
        running.end()


def time_by_part(seconds: Mapping[str, float]) -> str:
    """A sentence on what `stopwatch` counted: training steps, and what else, the longest first."""
    rest = {part: s for part, s in seconds.items() if part != STEPS}
    longest = sorted(rest, key=lambda part: -rest[part])
    parts = ", ".join(f"{part} {rest[part]:.1f}" for part in longest)
    steps = seconds.get(STEPS, 0.0)
    return f"{steps + sum(rest.values()):.1f} s, {steps:.1f} of them training steps; {parts}"
