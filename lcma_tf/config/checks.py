"""Rules on values, each refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from lcma_tf.errors import UserError
from lcma_tf.integers import is_integer

__all__ = [
    "MAX_SEED",
    "MAX_TEMPERATURE",
    "ConfigError",
    "check_temperature",
    "is_finite",
    "is_number",
    "is_rate",
    "require",
    "require_count",
    "require_ints",
    "require_kind",
    "require_positive",
    "require_seed",
    "set_level_ints",
    "set_plain_values",
    "set_shape",
]

MAX_SEED = 2**30  # Seeds are int32, and the noise of batch b is that of seed + b.
# Of the latents. Beyond twice the standard deviation of those that the flow was trained on it was never
# asked what they mean, and draws 0 and 255. The limit of an export too.
MAX_TEMPERATURE = 2.0
_TINY = float(np.finfo(np.float32).tiny)  # Below it TensorFlow has 0.


class ConfigError(UserError, ValueError):
    """A value that breaks a rule; the message names the field, the rule and the value."""


def require(condition: bool, name: str, rule: str, value: Any) -> None:
    """Raises `ConfigError` unless `condition`: field or flag `name` must be `rule`."""
    if not condition:
        raise ConfigError(f"`{name}` must be {rule}; got {value!r}.")


def require_count(name: str, value: int, largest: int = 2**31 - 1, *, least: int = 1) -> None:
    """Raises `ConfigError` unless `name` is an integer of `least` to what TensorFlow counts by."""
    require(is_integer(value), name, "an integer", value)
    require(value >= least, name, f"at least {least}", value)
    require(value <= largest, name, f"at most {largest}", value)


def require_kind(name: str, value: Any, kind: type, or_none: bool = False) -> None:
    """Raises `ConfigError` unless argument `name` is a `kind`, or None where it may be left out."""
    if not (isinstance(value, kind) or (or_none and value is None)):
        rule = f"{kind.__name__} or None" if or_none else kind.__name__
        found = None if value is None else type(value).__name__  # An array fills a page.
        raise ConfigError(f"`{name}` must be a {rule}; got {found}.")


def check_temperature(value: float) -> None:
    """Raises `ConfigError` unless samples can be drawn at temperature `value`."""
    valid = is_number(value) and 0 <= value <= MAX_TEMPERATURE  # A comparison with NaN is false.
    require(valid, "temperature", f"between 0 and {MAX_TEMPERATURE:g}", value)


def is_number(value: Any) -> bool:
    """Whether `value` is one number, of Python, NumPy or TensorFlow; a text is none."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, str | bytes)


def is_rate(value: Any) -> bool:
    """Whether `value` is a share of false alarms: in (0, 0.5), as float32, which graphs take, too."""
    return is_number(value) and 0 < float(value) < 0.5 and _TINY <= float(np.float32(value)) < 0.5


def is_finite(value: Any) -> bool:
    """Whether `value` is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def require_ints(config: Any, minimum: int, *names: str) -> None:
    """Checks that these fields are integers from `minimum` on."""
    for name in names:
        value = getattr(config, name)
        require(_is_int(value) and value >= minimum, name, f"an integer >= {minimum}", value)


def require_positive(config: Any, *names: str) -> None:
    """Checks that these fields are finite numbers above 0."""
    for name in names:
        value = getattr(config, name)
        require(is_finite(value) and value > 0, name, "a finite number > 0", value)


def set_plain_values(config: Any) -> None:
    """Makes NumPy's scalars the equal values of Python; checks that fields of truth are True or False.

    For a dataclass whose annotations are text.
    """
    for field in dataclasses.fields(config):
        value = _plain(getattr(config, field.name))
        object.__setattr__(config, field.name, value)
        if field.type == "bool":
            require(isinstance(value, bool), field.name, "True or False", value)


def require_seed(config: Any) -> None:
    """Checks the field `seed`."""
    require_ints(config, 0, "seed")
    require(config.seed <= MAX_SEED, "seed", f"at most {MAX_SEED}", config.seed)


def set_shape(config: Any, name: str) -> None:
    """Checks an image shape; a list, as JSON has it, becomes a tuple."""
    shape = getattr(config, name)
    fits = isinstance(shape, tuple | list) and len(shape) == 3
    fits = fits and all(_is_int(size) and size >= 1 for size in shape)
    require(fits, name, "(height, width, channels), all positive integers", shape)
    object.__setattr__(config, name, tuple(shape))


def set_level_ints(config: Any, name: str, most: int) -> None:
    """Checks a field that has an integer for each of `num_scales` levels, or is None.

    A list, as JSON has it, becomes a tuple.
    """
    values, num_levels = getattr(config, name), config.num_scales
    if values is None:
        return
    fits = isinstance(values, tuple | list) and len(values) == num_levels
    fits = fits and all(_is_int(value) and 1 <= value <= most for value in values)
    rule = f"one integer of 1 to {most} for each of the num_scales={num_levels} levels, or None"
    require(fits, name, rule, values)
    object.__setattr__(config, name, tuple(values))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, np.generic) else value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
