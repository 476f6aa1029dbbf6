"""How every main starts and ends: quiet libraries, one-sentence errors, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from absl import app, logging

from lcma_tf.backend import require_tensorflow
from lcma_tf.config import require

__all__ = ["require", "run"]


def run(main: Callable[[], None], resumable: bool = False) -> None:
    """Parses the flags and runs `main`.

    A bad input (a ValueError of ours, a missing file) ends with one line on standard error and exit
    code 1; an interruption with how to go on, and 130.

    Args:
        main: takes nothing; reads flags.
        resumable: whether the same command goes on where it was.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Before TensorFlow is imported.

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: arguments must be flags; got {' '.join(argv[1:])}")
        logging.set_verbosity(logging.WARNING)  # TFDS tells of every file that it reads.
        try:
            require_tensorflow()
            main()
        except KeyboardInterrupt:
            again = " Run the same command again to go on from there." if resumable else ""
            print(f"\nInterrupted. What was saved is kept.{again}", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if not _is_for_the_user(error):
                raise
            sys.exit(f"error: {' '.join(str(error).split())}")

    app.run(guarded)


def _is_for_the_user(error: Exception) -> bool:
    """Errors that this project raises about its input; anything else is a bug and keeps its trace."""
    ours = type(error).__module__.startswith(("lcma_tf.", "export."))
    return ours or isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
