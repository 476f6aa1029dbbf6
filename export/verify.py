"""`python -m export.verify VERSION_DIR`: does what was published do what the model does?

Runs a SavedModel in a process of its own, that has nothing of the one that made it: TensorFlow's C++
session alone, no lcma_tf, no Keras, no TensorFlow in Python. Every signature and every warm-up record
is run; what comes out must be finite and, with `--expected`, what the model itself had said.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping

import numpy as np

from export.c_api import library
from export.comparison import VerificationError, check_equal, check_finite
from export.cpp_session import CppSession, CppSessionError
from export.warmup import WARMUP_FILE, WarmupRequest, read_warmup

__all__ = ["Report", "VerificationError", "verify", "verify_in_clean_process"]

# None of them may be needed to run what was published.
_FOREIGN = ("lcma_tf", "keras", "tf_keras", "tensorflow", "tensorflow_probability")
_PREFIX = "error: "


@dataclasses.dataclass(frozen=True)
class Report:
    """What a server will need: seconds to load, memory then, seconds of each signature's first run.

    Attributes:
        load_seconds: of the C++ session.
        resident_mib: memory of the process after that, TensorFlow's libraries included; None where
            the system does not say (it is read from /proc).
        first_run_seconds: by signature.
        compared: whether the answers were compared with any.
    """

    load_seconds: float
    resident_mib: float | None
    first_run_seconds: dict[str, float]
    compared: bool

    def __str__(self) -> str:
        verdict = "as expected" if self.compared else "finite, compared with nothing"
        memory = "" if self.resident_mib is None else f", {self.resident_mib:.0f} MiB resident"
        lines = [
            f"{name}: first run {seconds:.2f} s, {verdict}"
            for name, seconds in self.first_run_seconds.items()
        ]
        return "\n".join([f"loaded in {self.load_seconds:.2f} s{memory}", *lines])


def verify(
    version_dir: str | os.PathLike[str],
    expected: Mapping[str, np.ndarray] | None = None,
    workers: int = 1,
) -> Report:
    """Runs every signature on its first warm-up record, then every warm-up record.

    Args:
        version_dir: the folder with saved_model.pb.
        expected: by `signature/output`, what each signature says to its first warm-up record. None:
            only that it says something finite.
        workers: signatures that are run at once. A first run keeps one core busy; the seconds that are
            reported are those of a server only if it is 1.

    Raises:
        VerificationError: see there.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1; got {workers}.")
    try:
        library()  # So that the time to load is the model's.
        start = time.perf_counter()
        with CppSession(version_dir) as session:
            load_seconds = time.perf_counter() - start
            resident_mib = _resident_mib()
            first_run_seconds = _run(session, version_dir, expected, workers)
            return Report(load_seconds, resident_mib, first_run_seconds, expected is not None)
    except (CppSessionError, ValueError) as error:
        raise VerificationError(str(error)) from error


def verify_in_clean_process(
    version_dir: str | os.PathLike[str],
    expected: Mapping[str, np.ndarray],
    timeout_seconds: float = 3600.0,
    workers: int = 1,
) -> Report:
    """`verify` in a process of its own, on the CPU: the caller may hold all memory of a GPU.

    Raises:
        VerificationError: with that process' sentence; or it crashed, or did not end in time.
    """
    root = pathlib.Path(__file__).resolve().parents[1]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet_on_cpu = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if workers > 1:  # Several runs at once are not safe with it: see export/serving/README.md.
        quiet_on_cpu["TF_ENABLE_ONEDNN_OPTS"] = "0"
    environment = {**os.environ, **quiet_on_cpu, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as folder:
        expected_file, report_file = pathlib.Path(folder, "e.npz"), pathlib.Path(folder, "r.json")
        np.savez(expected_file, **expected)  # type: ignore[arg-type]
        command = [sys.executable, "-P", "-m", "export.verify", os.fspath(version_dir)]
        command += [f"--expected={expected_file}", f"--report={report_file}"]
        command += [f"--workers={workers}"]
        try:
            ended = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=timeout_seconds
            )
        except subprocess.TimeoutExpired as error:
            raise VerificationError(
                f"{version_dir} must be verified within {timeout_seconds:g} s; it was not."
            ) from error
        if ended.returncode:
            raise VerificationError(_sentence(ended))
        return Report(**json.loads(report_file.read_text()))


def _run(
    session: CppSession,
    version_dir: str | os.PathLike[str],
    expected: Mapping[str, np.ndarray] | None,
    workers: int,
) -> dict[str, float]:
    records = read_warmup(pathlib.Path(version_dir) / WARMUP_FILE)
    first = {}
    for index, record in enumerate(records):
        first.setdefault(record.signature, (index, record))
    for signature in session.signatures:
        if signature not in first:
            raise VerificationError(
                f"Signature {signature} must have a warm-up record; it has none."
            )

    def first_run(signature: str) -> tuple[dict[str, np.ndarray], float]:
        start = time.perf_counter()
        return _answers(session, *first[signature]), time.perf_counter() - start

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        runs = dict(zip(session.signatures, pool.map(first_run, session.signatures), strict=True))
    found = set()
    for signature, (outputs, _) in runs.items():
        for name, actual in outputs.items():
            key = f"{signature}/{name}"
            found.add(key)
            if expected is None:
                continue
            if key not in expected:
                raise VerificationError(f"`expected` must have every output; {key} is missing.")
            check_equal(key, actual, expected[key])
    missing = sorted(set(expected or ()) - found)
    if missing:
        raise VerificationError(f"The model must have {', '.join(missing)}; it has not.")
    for index, record in enumerate(records):
        _answers(session, index, record, record.output_filter)
    return {signature: seconds for signature, (_, seconds) in runs.items()}


def _resident_mib() -> float | None:
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmRSS:"))


def _answers(
    session: CppSession, index: int, record: WarmupRequest, outputs: tuple[str, ...] = ()
) -> dict[str, np.ndarray]:
    try:
        answers = session.run(record.signature, record.inputs, outputs)
    except CppSessionError as error:
        raise VerificationError(f"Warm-up record {index} must run: {error}") from error
    for name, array in answers.items():
        check_finite(f"{record.signature}/{name}", array)
    return answers


def _sentence(ended: subprocess.CompletedProcess[str]) -> str:
    for line in ended.stderr.splitlines():  # Among what TensorFlow's libraries log.
        if line.startswith(_PREFIX):
            return line.removeprefix(_PREFIX)
    last = ended.stderr.strip().splitlines()[-1:] or ["nothing"]
    return f"The process that verifies ended with code {ended.returncode}; it last said: {last[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m export.verify", description=__doc__)
    parser.add_argument("version_dir", help="the folder with saved_model.pb")
    parser.add_argument("--expected", help=".npz with an array for each signature/output")
    parser.add_argument("--workers", type=int, default=1, help="signatures run at once")
    parser.add_argument("--report", help="a JSON file to write the seconds to")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # Before the library is loaded.
    try:
        expected = None
        if arguments.expected:
            if not zipfile.is_zipfile(arguments.expected):
                raise ValueError(f"`--expected` must be an .npz file; got {arguments.expected!r}.")
            with np.load(arguments.expected, allow_pickle=False) as archive:
                expected = dict(archive)
        report = verify(arguments.version_dir, expected, arguments.workers)
        foreign = [name for name in _FOREIGN if name in sys.modules]
        if foreign:
            raise VerificationError(f"Running must not import {', '.join(foreign)}; it did.")
        if arguments.report:
            pathlib.Path(arguments.report).write_text(json.dumps(dataclasses.asdict(report)))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"{_PREFIX}{' '.join(str(error).split())}")
    print(report)


if __name__ == "__main__":
    main()
