"""What a field of a config says of itself: its help, and what it may be. The flags are made of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

from lcma_tf.config.checks import require, set_plain_values

__all__ = ["Option", "OptionConfig", "option", "options"]


@dataclasses.dataclass(frozen=True)
class Option:
    """A field that whoever runs something may set.

    Args:
        help: a line for `--help`; a function where it depends on a table that may grow.
        choices: the names that it may be, a table of `lcma_tf.choices` say; None = no such list.
        is_path: a place on the disk.
    """

    help: str | Callable[[], str]
    choices: Collection[str] | None = None
    is_path: bool = False

    @property
    def text(self) -> str:
        """The help, as the tables are now."""
        return self.help() if callable(self.help) else self.help


def option(
    default: Any,
    help: str | Callable[[], str],  # As argparse and absl call it.
    choices: Collection[str] | None = None,
    is_path: bool = False,
) -> Any:
    """A dataclass field with a default and an `Option` about it."""
    return dataclasses.field(default=default, metadata={"option": Option(help, choices, is_path)})


def options(config: Any) -> dict[str, Option]:
    """The options of a config or its class by the names of their fields."""
    return {
        field.name: field.metadata["option"]
        for field in dataclasses.fields(config)
        if "option" in field.metadata
    }


class OptionConfig:
    """Base of the frozen configs: `to_dict`, `from_dict`, and the checks by the kind of a field."""

    def __post_init__(self):
        """What JSON can hold, whatever was given: NumPy's scalars are Python's, paths are text."""
        set_plain_values(self)
        for name, option in options(self).items():
            value = getattr(self, name)
            if option.is_path and value is not None:
                require(isinstance(value, str | os.PathLike), name, "a path or None", value)
                object.__setattr__(self, name, os.fspath(value))

    def to_dict(self) -> dict[str, Any]:
        """A JSON form: the fields by name."""
        return dataclasses.asdict(self)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. An unknown field is an error."""
        require(isinstance(values, Mapping), cls.__name__, "made of a dict of its fields", values)
        known = {field.name for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
        unknown = sorted(set(values) - known)
        require(not unknown, cls.__name__, f"made of the fields {sorted(known)}", unknown)
        return cls(**values)

    def _check_choices(self, but: Collection[str] = ()) -> None:
        for name, option in options(self).items():
            if option.choices is not None and name not in but:
                value = getattr(self, name)
                rule = f"one of {', '.join(option.choices)}"
                if len(option.choices) == 1:
                    rule = repr(*option.choices)
                require(value in option.choices, name, rule, value)
