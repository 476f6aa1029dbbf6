"""What the system says of the processor."""

import itertools

__all__ = ["processor_fields"]


def processor_fields() -> dict[str, str]:
    """Of the first core, by the names that Linux has: `model name`, `flags`; {} where there are none."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [*itertools.takewhile(str.strip, file)]  # A blank line ends a core's.
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}
