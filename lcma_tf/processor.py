"""What the system says of the processor."""

import pathlib

__all__ = ["processor_fields"]


def processor_fields() -> dict[str, str]:
    """Of the first core, by the names that Linux has: `model name`, `flags`; {} where there are none."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(lines))  # The first core's come last.
    return {name.strip(): value.strip() for name, _, value in pairs}
