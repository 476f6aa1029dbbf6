"""The split rules as a config has them: in its help, and as names that nobody asked for."""

from __future__ import annotations

from lcma_tf.choices import RULES

__all__ = ["RuleThatWas", "UnaskedRule", "rules_help"]


class RuleThatWas(str):
    """The split rule of a stored run, or of masks that are given, that is in no table: a mere label.

    A kind of its own, so that it is still accepted where the config is copied with other values.
    """


class UnaskedRule(str):
    """The rule where none was asked for: that of a given factorization may take its place."""


def rules_help() -> str:
    """What `--help` says of them."""
    rules = "; ".join(f"{name}: {rule.help}" for name, rule in RULES.items())
    return f"which dimensions go on at each scale. {rules}"
