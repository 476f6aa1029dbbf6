"""What counts as an integer where an argument must be one."""

import operator
from typing import Any

__all__ = ["is_integer"]


def is_integer(value: Any) -> bool:
    """Whether `value` is one integer, of Python, NumPy or TensorFlow; True and False are none."""
    if isinstance(value, bool):
        return False
    try:
        operator.index(value)
    except TypeError:  # NumPy's truths are refused here, too.
        return False
    return True
