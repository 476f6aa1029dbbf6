"""What the tests of the command line share: a tiny data set, a tiny run, mains in and out of process.

A process of its own costs the start of TensorFlow, so a main is mostly called here, in the process of
the test (`call`); `Started` and `run` are for what only a process shows: a kill, an exit code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import io
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time
import warnings
from unittest import mock

import numpy as np
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = (8, 8, 3)
# Epochs short enough to be killed in between, and the last one not full.
TINY = {
    "num_scales": 2,
    "num_couplings": 1,
    "base_dim": 2,
    "num_residual_blocks": 1,
    "batch_size": 8,
    "pretrain_steps": 16,
    "train_steps": 22,
    "steps_per_epoch": 4,
}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a main ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str


def splits(shape=SHAPE, seed=0, **changes):
    """Arrays `train`, `validation`, `test` of smooth images; `changes` replaces some."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (40, 1, 1, shape[-1])) + rng.integers(0, 56, (40, *shape))
    train, validation, test = np.split(images.astype(np.uint8), [24, 32])
    return {"train": train, "validation": validation, "test": test, **changes}


def write_npz(path, **arrays):
    """Writes a data set; returns its name for `--dataset`."""
    np.savez(path, **(arrays or splits()))
    return f"npz:{path}"


def as_flags(**values):
    return [f"--{name}={value}" for name, value in values.items()]


def call(module, *argv):
    """Runs `python -m module argv` in this process, flags and all, and leaves no flag behind."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(sys, "argv", [module, *map(str, argv)]),
            warnings.catch_warnings(action="ignore"),
        ):
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    except SystemExit as stop:
        if isinstance(stop.code, str):  # What the interpreter does with a message.
            err.write(stop.code)
        code = 1 if isinstance(stop.code, str) else stop.code or 0
    finally:
        flags.FLAGS.unparse_flags()
        for module, defined in list(flags.FLAGS.flags_by_module_dict().items()):
            for flag in list(defined) if module.startswith("lcma_tf.cli.") else ():
                delattr(flags.FLAGS, flag.name)
    return Ended(code, out.getvalue(), err.getvalue())


def flags_in(folder, values):
    """Flags whose `{}` stand for `folder`."""
    return as_flags(**{name: str(value).format(folder) for name, value in values.items()})


def assert_refused(ended, words):
    """It ended as bad input must: a known exit code, and one sentence with all these words."""
    assert ended.code in (1, 2), ended
    assert "Traceback" not in ended.err
    if "FATAL Flags parsing error" not in ended.err:
        assert ended.err.startswith("error: ") and "\n" not in ended.err.strip()
    for word in words.split():
        assert word in ended.err, (word, ended.err)


class Started(subprocess.Popen):
    """`python -m module argv` as a process of its own; what it writes goes into files.

    A pipe that nobody reads would hold it up once it is full.
    """

    def __init__(self, module, *argv):
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115  # Closed by `end`.
        self._err = tempfile.TemporaryFile("w+")  # noqa: SIM115
        super().__init__(
            [sys.executable, "-m", module, *map(str, argv)],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=self._out,
            stderr=self._err,
            # No `preexec_fn`: Python would fork, and gRPC's threads can end a child before it begins.
        )

    def end(self, seconds=600):
        """Waits for the end."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        written = []
        for file in (self._out, self._err):
            file.seek(0)
            written.append(file.read())
            file.close()
        return Ended(self.returncode, *written)

    def wait_until(self, happened, seconds=600):
        """Waits until `happened()`, for which it must still be running."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.poll() is None, f"It ended too early:\n{self.end().err}"
            assert time.monotonic() < deadline, f"Nothing happened in {seconds} s."
            time.sleep(0.01)


def run(module, *argv):
    """Runs `python -m module argv` to its end as a process of its own."""
    return Started(module, *argv).end()


def files(folder):
    """Every file below a folder with what tells whether it was written again."""
    found = (path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in found
    }


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """An unbroken run by the command `python -m lcma_tf.train *flags --workdir=workdir`."""

    flags: list[str]
    workdir: pathlib.Path
    out: str


@dataclasses.dataclass(frozen=True)
class Export:
    """The version that `python -m export.export_saved_model` made of the run in `workdir`."""

    workdir: pathlib.Path
    version: pathlib.Path
    out: str


def finished_run(tmp_path_factory):
    """The one unbroken run of the whole test session, made by whoever asks first."""
    base = _common(tmp_path_factory)
    command = as_flags(dataset=f"npz:{base / 'images.npz'}", **TINY)

    def make():
        write_npz(base / "images.npz")
        return run("lcma_tf.train", *command, f"--workdir={base / 'finished_run'}")

    out = _made_once(base / "finished_run.log", make)
    return FinishedRun(command, base / "finished_run", out)


def finished_export(tmp_path_factory):
    """The one export of that run, likewise."""
    base, workdir = _common(tmp_path_factory), finished_run(tmp_path_factory).workdir
    models = base / "models" / "flow"
    command = [f"--workdir={workdir}", f"--export_dir={models}"]
    out = _made_once(
        base / "finished_export.log", lambda: run("export.export_saved_model", *command)
    )
    return Export(workdir, models / "1", out)


def _common(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    # What the workers have in common.
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def _made_once(log, make):
    with open(log.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            ended = make()
            assert ended.code == 0, ended.err
            log.write_text(ended.out)
    return log.read_text()
