"""A SavedModel run where nothing of its maker is: `python -m ...clean_run JOB ANSWERS REPORT`.

The process imports no flow, no Keras and no TensorFlow in Python, only the C++ loader. It knows no
signatures and judges nothing: which tensors are fed and fetched stands in the job, what comes out goes
back, and `export.verify` compares.
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lcma_tf.serving.runtime.c_api import LoaderError, library
from lcma_tf.serving.runtime.cpp_loader import CppLoader

__all__ = ["PREFIX", "Answers", "Run", "read_answers", "run_all", "write_job"]

# Of the line that says why there are no answers, among what TensorFlow's libraries log.
PREFIX = "error: "
# None of them may be needed to run what was published. Of lcma_tf these are the plain modules that all
# of a flow and its training imports; what is beside this file is free of TensorFlow by its own imports.
_FOREIGN = (
    "lcma_tf.config",
    "lcma_tf.factorization",
    "lcma_tf.files",
    "keras",
    "tf_keras",
    "tensorflow",
    "tensorflow_probability",
)


class Run(NamedTuple):
    """One run of the graph.

    Attributes:
        what: how a message calls it.
        feeds: serialized TensorProtos by the names of tensors.
        fetches: names of tensors.
    """

    what: str
    feeds: dict[str, bytes]
    fetches: list[str]


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came out.

    Attributes:
        load_seconds: of the C++ session.
        resident_mib: memory of the process after that, TensorFlow's libraries included; None where
            the system does not say (it is read from /proc).
        seconds: of each run.
        arrays: of each run, an array for each fetched tensor.
    """

    load_seconds: float
    resident_mib: float | None
    seconds: list[float]
    arrays: list[list[np.ndarray]]


def run_all(
    version_dir: str | os.PathLike[str], runs: Sequence[Run], num_first: int = 0, workers: int = 1
) -> Answers:
    """Loads a SavedModel and runs it.

    Args:
        version_dir: the folder with saved_model.pb.
        runs: in their order.
        num_first: how many of them come before all others, `workers` at once.
        workers: see there.

    Raises:
        LoaderError: it does not load, or a run fails; the message begins with its `what`.
    """
    library()  # So that the time to load is the model's.
    start = time.perf_counter()
    with CppLoader(version_dir) as loader:
        load_seconds = time.perf_counter() - start
        resident_mib = _resident_mib()

        def timed(run: Run) -> tuple[list[np.ndarray], float]:
            start = time.perf_counter()
            try:
                arrays = loader.run(run.feeds, run.fetches)
            except LoaderError as error:
                raise LoaderError(f"{run.what} must run: {error}") from error
            return arrays, time.perf_counter() - start

        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            done = list(pool.map(timed, runs[:num_first]))
        done += map(timed, runs[num_first:])
    return Answers(
        load_seconds, resident_mib, [seconds for _, seconds in done], [arrays for arrays, _ in done]
    )


def write_job(
    path: pathlib.Path,
    version_dir: str | os.PathLike[str],
    runs: Sequence[Run],
    num_first: int,
    workers: int,
) -> None:
    """Writes the arguments of `run_all` for the process to read."""
    plain = [
        [
            run.what,
            {name: base64.b64encode(proto).decode() for name, proto in run.feeds.items()},
            run.fetches,
        ]
        for run in runs
    ]
    path.write_text(json.dumps([os.fspath(version_dir), plain, num_first, workers]))


def read_answers(arrays: pathlib.Path, report: pathlib.Path) -> Answers:
    """Reads what the process has written."""
    load_seconds, resident_mib, seconds, sizes = json.loads(report.read_text())
    with np.load(arrays, allow_pickle=False) as file:
        found = [[file[f"{i}_{j}"] for j in range(size)] for i, size in enumerate(sizes)]
    return Answers(load_seconds, resident_mib, seconds, found)


def main(argv: Sequence[str]) -> None:
    job, arrays, report = map(pathlib.Path, argv)
    version_dir, plain, num_first, workers = json.loads(job.read_text())
    runs = [
        Run(what, {name: base64.b64decode(text) for name, text in feeds.items()}, fetches)
        for what, feeds, fetches in plain
    ]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Before the library is loaded.
    try:
        answers = run_all(version_dir, runs, num_first, workers)
        if foreign := [name for name in _FOREIGN if name in sys.modules]:
            raise LoaderError(f"Running must not import {', '.join(foreign)}; it did.")
    except LoaderError as error:
        sys.exit(f"{PREFIX}{' '.join(str(error).split())}")
    named = {
        f"{i}_{j}": array for i, one in enumerate(answers.arrays) for j, array in enumerate(one)
    }
    np.savez(arrays, **named)  # type: ignore[arg-type]
    sizes = [len(one) for one in answers.arrays]
    report.write_text(
        json.dumps([answers.load_seconds, answers.resident_mib, answers.seconds, sizes])
    )


def _resident_mib() -> float | None:
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main(sys.argv[1:])
