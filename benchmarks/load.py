"""From /proc: how busy the rest of the machine is, which slows one peer more than another; memory."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

__all__ = ["Neighbours", "busy_by_others", "memory_mib", "session_cpu_seconds"]

PROC = Path("/proc")


class Neighbours:
    """Measures, from its creation on, the share of all cores that other processes keep busy.

    Time that the hypervisor gave to other guests ("steal") counts as theirs.
    """

    def __init__(self):
        self._start = _now()

    def share(self, of_children: float = 0.0) -> float | None:
        """Between 0 and 1; None where the system does not say.

        Args:
            of_children: CPU seconds of processes that are not "other".
        """
        if self._start is None or (end := _now()) is None:
            return None
        elapsed, busy, own = (b - a for a, b in zip(self._start, end, strict=True))
        return busy_by_others(elapsed, busy, own + of_children, os.cpu_count())


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


def session_cpu_seconds(session: int) -> float:
    """CPU seconds of all living processes of a session and of their finished children."""
    ticks = 0
    for path in PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # It has ended.
            continue
        if int(fields[3]) == session:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mib(process: int | str = "self") -> dict[str, float]:
    """MiB of a process by Linux' names: `VmHWM` resident at most, `RssAnon` its own, `RssFile` mapped.

    Empty where the process has ended, or the system does not say. Linux counts the first anew for each
    program; `getrusage` does not.
    """
    try:
        lines = (PROC / str(process) / "status").read_text().splitlines()
    except OSError:
        return {}
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = ("VmHWM", "RssAnon", "RssFile")
    return {name: int(fields[name].split()[0]) / 2**10 for name in names if name in fields}


def _now() -> tuple[float, float, float] | None:
    """Clock, busy seconds of all cores, CPU seconds of this process."""
    try:
        fields = [int(f) for f in (PROC / "stat").read_text().splitlines()[0].split()[1:]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, irq, softirq, steal, *_ = fields + [0] * 8
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.monotonic(), busy, usage.ru_utime + usage.ru_stime
