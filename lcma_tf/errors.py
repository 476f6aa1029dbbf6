"""What all errors of this project about its input have in common. Imports nothing of ours."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(Exception):
    """Something that whoever runs this can mend; the message says what, in one sentence.

    Beside it each error keeps its kind as Python has it: `class ConfigError(UserError, ValueError)`. A
    command ends with the sentence of such an error, and with the trace of any other, which is a bug.
    """
