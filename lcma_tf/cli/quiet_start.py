"""The start of TensorFlow without the lines that alarm and mean nothing (`startup_lines`)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from lcma_tf.cli import startup_lines
from lcma_tf.cli.import_hooks import during_import

__all__ = ["quiet_start"]

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_SECONDS = 5.0  # For the filter to end: it has what was written, unless somebody else writes to it.


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """If TensorFlow is imported in the block, and was not before, it starts without those lines.

    `TF_CPP_MIN_LOG_LEVEL=0` in the environment shows them all.
    """
    shows_all = os.environ.get(_LEVEL) == "0"
    os.environ.setdefault(_LEVEL, "1")  # After its start: warnings and errors.
    if shows_all:
        yield
        return
    with during_import("tensorflow", _quiet_import):
        yield


@contextlib.contextmanager
def _quiet_import() -> Iterator[None]:
    with _filtered():
        yield
        # CUDA speaks when it is first asked. What is wrong is told to whoever asks next, too.
        with contextlib.suppress(Exception):
            sys.modules["tensorflow"].config.list_physical_devices("GPU")


@contextlib.contextmanager
def _filtered() -> Iterator[None]:
    """The file of standard error, for C++ too, goes through a process of its own.

    A process, since what TensorFlow writes before it aborts, for want of an instruction of the
    processor, must arrive.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
        command = [sys.executable, "-I", "-S", startup_lines.__file__]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    except (OSError, AttributeError):  # No standard error, or no way to start a process.
        yield
        return
    assert process.stdin is not None
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS)
