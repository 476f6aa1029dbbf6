"""`lcma_tf.score` as a process of its own: the memory that it takes, and what a kill leaves of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import memory_mib
from lcma_tf.batch.output_files import partial_path
from lcma_tf.batch.rows import open_input

__all__ = ["Command", "killed_and_resumed", "peak_mib"]

_POLL_SECONDS = 0.1


class Command(NamedTuple):
    """One table.

    Args:
        run: folder of a calibrated run.
        images: the input.
        output: the table.
        batch_size: images a pass.
        threads: of TensorFlow.
    """

    run: Path
    images: str
    output: Path
    batch_size: int
    threads: int

    @contextlib.contextmanager
    def started(self) -> Iterator[subprocess.Popen]:
        """The process; leaving the block waits for its end, an error ends it."""
        flags = {
            "workdir": self.run,
            "input": self.images,
            "output": self.output,
            "batch_size": self.batch_size,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "lcma_tf.score", *(f"--{k}={v}" for k, v in flags.items())],
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "TF_NUM_INTRAOP_THREADS": str(self.threads),
            },
            stdout=subprocess.DEVNULL,
        )
        try:
            yield process
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run_to_the_end(self) -> None:
        """Raises `RuntimeError` unless all images are scored."""
        with self.started() as process:
            process.wait()
        _check(process.returncode)


def peak_mib(command: Command) -> float:
    """MiB that it had resident at most (Linux)."""
    peak = 0.0
    with command.started() as process:
        while process.poll() is None:
            peak = memory_mib(process.pid).get("VmHWM", peak)
            time.sleep(_POLL_SECONDS)
    _check(process.returncode)
    return peak


def killed_and_resumed(command: Command, kills: int, seed: int = 0) -> dict[str, object]:
    """Kills it so often at random moments, then lets it end; is the file that of an undisturbed run?

    Args:
        command: of the undisturbed run, which is made if its table is not there.
    """
    if not command.output.exists():
        command.run_to_the_end()
    unbroken = command.output
    command = command._replace(output=unbroken.with_name(f"killed_{unbroken.name}"))
    partial = partial_path(command.output)
    count, draw, found = len(open_input(command.images)), random.Random(seed), []
    for number in range(kills):
        there = _lines(partial)
        # Of what is left about as much for each; and not as a batch ends, but somewhat later.
        wanted = there + draw.random() * 2 * (count - there) / (kills + 1 - number)
        with command.started() as process:
            while process.poll() is None and _lines(partial) <= wanted:
                time.sleep(_POLL_SECONDS)
            time.sleep(draw.random() * _POLL_SECONDS)
            process.kill()
        if process.returncode != -signal.SIGKILL:
            break  # It had ended before.
        found.append(_lines(partial))
    command.run_to_the_end()
    same = all(
        Path(f"{command.output}{end}").read_bytes() == Path(f"{unbroken}{end}").read_bytes()
        for end in ("", ".json")
    )
    return {"kills": len(found), "lines_there": found, "identical": same}


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"lcma_tf.score must end with 0; it ended with {code}.")
