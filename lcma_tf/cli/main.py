"""How every main starts and ends: quiet libraries, one-sentence errors, exit codes."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from absl import app, logging

from lcma_tf.backend import require_tensorflow
from lcma_tf.cli.convolutions import choose_convolutions
from lcma_tf.cli.light_keras import light_keras
from lcma_tf.cli.open_line import open_line_ended
from lcma_tf.cli.quiet_start import quiet_start
from lcma_tf.config import require
from lcma_tf.errors import UserError
from lcma_tf.files.saving import refusal_to_write

__all__ = ["exit_if_failed", "require", "require_writable", "run"]

_SOME_FAILED = 3

# The user's to mend, whatever was to be written.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it, where Ctrl-C raises its base class."""


def require_writable(name: str, path: str) -> None:
    """Raises `ConfigError` unless flag `name` may be a file to write: in a folder that is there.

    Tried, so that no work is done for what cannot be kept.
    """
    fits = os.path.isdir(os.path.dirname(path) or ".") and not os.path.isdir(path)
    require(bool(path) and fits, name, "a file in an existing folder", path)
    refusal = refusal_to_write(path)
    require(refusal is None, name, f"a file that can be written ({refusal})", path)


def exit_if_failed(told: str, failed: int) -> None:
    """Ends a command with exit code 3 where `failed` of its images have no score; `told` says whose."""
    if failed:
        print(f"error: {told} have no score; the column error says why", file=sys.stderr)
        sys.exit(_SOME_FAILED)


def run(main: Callable[[], None], resumable: bool = False) -> None:
    """Parses the flags and runs `main`.

    A bad input (a ValueError of ours, a missing file) ends with one line on standard error and exit
    code 1; an interruption with how to go on, and 130, a SIGTERM in the same way with 143.

    Args:
        main: takes nothing; reads flags.
        resumable: whether the same command goes on where it was.
    """
    # TensorFlow's import alone makes half a million objects that stay, and the usual thresholds look at
    # all of them again and again: a tenth of its time.
    gc.set_threshold(10_000, 10, 10)
    program = sys.modules["__main__"]
    # What --help begins with; the script that an installation makes has nothing there.
    program.__doc__ = program.__doc__ or sys.modules[main.__module__].__doc__

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: arguments must be flags; got {' '.join(argv[1:])}")
        logging.set_verbosity(logging.WARNING)  # TFDS tells of every file that it reads.
        try:
            require_tensorflow()
            choose_convolutions()
            with quiet_start(), light_keras(), _sigterm_raises(), open_line_ended():
                main()
        except KeyboardInterrupt as error:
            terminated = isinstance(error, _TerminatedError)
            how = "Terminated" if terminated else "Interrupted"
            again = " Run the same command again to go on from there." if resumable else ""
            print(f"\n{how}. What was saved is kept.{again}", file=sys.stderr)
            sys.exit(128 + (signal.SIGTERM if terminated else signal.SIGINT))
        except Exception as error:
            if not _is_for_the_user(error):
                raise
            sys.exit(f"error: {' '.join(str(error).split())}")

    app.run(guarded)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Ends the block by an exception, so that files are closed; who has a handler already keeps it."""

    def terminate(number, frame):
        raise _TerminatedError

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _is_for_the_user(error: Exception) -> bool:
    """Errors that this project raises about its input; anything else is a bug and keeps its trace."""
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return True
    of_files = (FileNotFoundError, PermissionError, NotADirectoryError)
    return isinstance(error, (UserError, *of_files))
