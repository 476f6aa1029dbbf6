"""Interleaved rounds of jobs, each in a process of its own; disturbed ones are repeated."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.architecture import BenchmarkConfig
from benchmarks.load import Neighbours, session_cpu_seconds
from benchmarks.suites import Job

__all__ = [
    "LIMIT",
    "JobFailed",
    "Outcome",
    "environment_of",
    "others_share",
    "run_job",
    "run_rounds",
]

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.15  # More of the machine than that busy with other work: disturbed.
MAX_REPEATS = 2
POLL_SECONDS = 0.2


class JobFailed(RuntimeError):
    """The process of a job ended without a result; the message is the end of what it said."""


@dataclasses.dataclass
class Outcome:
    """What the rounds of one job gave: the results of each, and which stayed disturbed."""

    job: Job
    rounds: list[dict] = dataclasses.field(default_factory=list)
    disturbed: list[bool] = dataclasses.field(default_factory=list)
    error: str | None = None


def run_rounds(
    jobs: Sequence[Job],
    num_rounds: int,
    run: Callable[[Job], dict],
    log: Callable[[str], None] = print,
) -> list[Outcome]:
    """Runs all jobs in order, `num_rounds` times over: A B C A B C.

    A job whose machine was disturbed is run again at once, twice at most; the least disturbed attempt
    counts. One that fails is not tried again.
    """
    outcomes = [Outcome(job) for job in jobs]
    for number in range(num_rounds):
        for outcome in outcomes:
            if outcome.error is not None:
                continue
            job = outcome.job
            where = " ".join(filter(None, (job.contender, job.measure, job.point)))
            try:
                result = _least_disturbed(lambda job=job: run(job))
            except JobFailed as error:
                outcome.error = str(error)
                log(f"round {number + 1}: {where}: failed: {error}")
                continue
            outcome.rounds.append(result)
            outcome.disturbed.append(is_disturbed(result))
            note = " (disturbed)" if outcome.disturbed[-1] else ""
            log(f"round {number + 1}: {where}: others {others_share(result):.0%}{note}")
    return outcomes


def _least_disturbed(run: Callable[[], dict]) -> dict:
    best = run()
    for _ in range(MAX_REPEATS):
        if not is_disturbed(best):
            break
        best = min(best, run(), key=others_share)
    return best


def is_disturbed(result: dict) -> bool:
    return others_share(result) > LIMIT


def others_share(result: dict) -> float:
    """How much of the machine others used: in the timed windows, or, if there are none, throughout."""
    windows = [v for key, v in result.items() if key.endswith("_others") and v is not None]
    return max(windows) if windows else result.get("others_during") or 0.0


def run_job(job: Job, seconds: float, timeout: float, cache: str) -> dict:
    """Measures in a new process, and how busy the rest of the machine was before and meanwhile.

    Args:
        seconds: of measuring, about.
        timeout: seconds after which the process is stopped.
        cache: a folder for what `torch.compile` keeps; starts are measured with an empty one.

    Raises:
        JobFailed: there is no result.
    """
    before = Neighbours()
    time.sleep(0.5)
    others_before = before.share()
    with tempfile.TemporaryDirectory() as folder:
        inductor = {"TORCHINDUCTOR_CACHE_DIR": folder if job.measure == "start" else cache}
        with open(Path(folder) / "output", "w+") as output, open(Path(folder) / "log", "w+") as log:
            meanwhile = Neighbours()
            process = subprocess.Popen(
                [*_command(job, seconds), "--started", repr(time.time())],
                cwd=ROOT,
                env=os.environ | environment_of(job.config) | inductor,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
            own = _wait(process, timeout)
            others_during = meanwhile.share(own)
            output.seek(0)
            log.seek(0)
            lines, said = output.read().splitlines(), log.read().splitlines()
    if process.returncode != 0 or not lines:
        raise JobFailed(said[-1] if said else f"exit status {process.returncode}")
    shares = {"others_before": others_before, "others_during": others_during}
    return json.loads(lines[-1]) | shares


def environment_of(config: BenchmarkConfig) -> dict[str, str]:
    """What the process of a job finds in its environment besides ours."""
    found = {"OMP_NUM_THREADS": str(config.threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if config.device == "cpu":  # TensorFlow would take a GPU by itself, and PyTorch would not.
        found["CUDA_VISIBLE_DEVICES"] = ""
    return found


def _command(job: Job, seconds: float) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.measure"]
    command += ["--contender", job.contender, "--measure", job.measure]
    command += ["--batch_size", *map(str, job.batch_sizes), "--seconds", str(seconds)]
    for name, value in dataclasses.asdict(job.config).items():
        command += [f"--{name}", str(value)]
    return command


def _wait(process: subprocess.Popen, timeout: float) -> float:
    """Waits for the end; returns the CPU seconds of the process and of all that it started."""
    end, own = time.monotonic() + timeout, 0.0
    try:
        while True:
            try:
                process.wait(POLL_SECONDS)
                return own
            except subprocess.TimeoutExpired:
                own = max(own, session_cpu_seconds(process.pid))
            if time.monotonic() > end:
                raise JobFailed(f"stopped after {timeout:.0f} s")
    finally:  # Also when this process is told to stop.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
