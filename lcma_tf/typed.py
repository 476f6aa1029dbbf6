"""The command as it was typed, for what records it: a script of the package, or `python -m`.

The standard library alone: clients of a model server use it, too.
"""

import pathlib
import shlex
import sys

__all__ = ["typed_command", "typed_program"]


def typed_program(module: str) -> str:
    """`lcma-train` where that script was started; else `python -m module`."""
    name = pathlib.Path(sys.argv[0]).stem  # Without the `.exe` of Windows.
    return name if name.startswith("lcma-") else f"python -m {module}"


def typed_command(module: str) -> str:
    """The same with its arguments, quoted for a shell."""
    return f"{typed_program(module)} {shlex.join(sys.argv[1:])}"
