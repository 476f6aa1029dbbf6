"""Which refusals of a server are worth another attempt, and after how long a wait.

A server that is busy, starting or away answers `UNAVAILABLE` (or, over REST, 429 and 503): wait and ask
again, each time longer, by a random share, so that many clients do not return at once.

A server that merges requests into batches answers everyone in a batch with one status. So a refusal
may be for somebody else's rows: what this side has checked gets one more chance, in other company.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from typing import TypeVar

from lcma_tf.serving.client.transport import ServingError

__all__ = ["BUSY", "MAYBE_SPOILED", "Retries"]

BUSY = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
MAYBE_SPOILED = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "INTERNAL"})

_Answer = TypeVar("_Answer")


@dataclasses.dataclass(frozen=True)
class Retries:
    """Calls a function until it answers, fails for good or has been given its chances.

    Wait k, from 0, is `min(longest_wait, first_wait * 2**k)` times a random number in [0.5, 1).

    Args:
        attempts: while the server is busy; at least 1.
        first_wait, longest_wait: seconds.
        random: gives a number in [0, 1); for tests.
        sleep: for tests.

    Raises:
        ValueError: an argument breaks its rule.
    """

    attempts: int = 6
    first_wait: float = 0.25
    longest_wait: float = 8.0
    random: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self):
        if self.attempts < 1:
            raise ValueError(f"`attempts` must be at least 1; got {self.attempts}.")
        if not 0 <= self.first_wait <= self.longest_wait:
            raise ValueError(
                "`first_wait` must be between 0 and `longest_wait`; "
                f"got {self.first_wait} and {self.longest_wait}."
            )

    def call(self, send: Callable[[], _Answer]) -> _Answer:
        """What `send` returns; its last `ServingError` if nothing helps."""
        waits, busy, spoiled = 0, 0, False
        while True:
            try:
                return send()
            except ServingError as error:
                if error.final:
                    raise
                if error.status in MAYBE_SPOILED and not spoiled:
                    spoiled = True
                elif error.status in BUSY and busy + 1 < self.attempts:
                    busy += 1
                else:
                    raise
            self.sleep(self._wait(waits))
            waits += 1

    def _wait(self, number: int) -> float:
        longest = min(self.longest_wait, self.first_wait * 2**number)
        return longest * (0.5 + 0.5 * self.random())
