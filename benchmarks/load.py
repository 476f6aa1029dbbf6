"""How busy the rest of the machine is, from /proc/stat: a neighbour slows one peer more than another."""

from __future__ import annotations

import os
import resource
import time

__all__ = ["Neighbours", "busy_by_others"]

STAT = "/proc/stat"


class Neighbours:
    """Measures, from its creation on, the share of all cores that other processes keep busy.

    Time that the hypervisor gave to other guests ("steal") counts as theirs.

    Args:
        of_children: the work that is not theirs is that of finished child processes, too.
    """

    def __init__(self, of_children: bool = False):
        self._of_children = of_children
        self._start = self._now()

    def share(self) -> float | None:
        """Between 0 and 1; None where the system does not say."""
        start, end = self._start, self._now()
        if start is None or end is None:
            return None
        return busy_by_others(*(b - a for a, b in zip(start, end, strict=True)), os.cpu_count())

    def _now(self):
        busy = _busy_seconds()
        if busy is None:
            return None
        own = _cpu_seconds(resource.RUSAGE_SELF)
        if self._of_children:
            own += _cpu_seconds(resource.RUSAGE_CHILDREN)
        return time.monotonic(), busy, own


def busy_by_others(elapsed: float, busy: float, own: float, num_cores: int | None) -> float:
    """The share of the machine's time that was spent on others' work.

    Args:
        elapsed: seconds on the clock.
        busy: seconds that all cores were busy, together.
        own: seconds of CPU time that were ours.
        num_cores: how many cores `busy` is over.
    """
    capacity = elapsed * (num_cores or 1)
    return min(max((busy - own) / capacity, 0.0), 1.0) if capacity > 0 else 0.0


def _busy_seconds() -> float | None:
    try:
        with open(STAT) as file:
            fields = [int(field) for field in file.readline().split()[1:]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, irq, softirq, steal, *_ = fields + [0] * 8
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime
