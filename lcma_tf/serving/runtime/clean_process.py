"""Runs a SavedModel in a process that has nothing of this one: what starts `clean_run`."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile

from lcma_tf.serving.runtime.clean_run import PREFIX, Answers, Run, read_answers, write_job
from lcma_tf.serving.runtime.comparison import VerificationError

__all__ = ["in_clean_process"]


def in_clean_process(
    version_dir: str | os.PathLike[str],
    runs: list[Run],
    num_first: int,
    workers: int,
    timeout_seconds: float = 3600.0,
) -> Answers:
    """`clean_run.run_all` in a process of its own, on the CPU: the caller may hold all memory of a GPU.

    Raises:
        VerificationError: with that process' sentence; or it crashed, or did not end in time.
    """
    root = pathlib.Path(__file__).resolve().parents[3]
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    quiet_on_cpu = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if workers > 1:  # Not safe with exports of earlier versions: see export/serving/README.md.
        quiet_on_cpu["TF_ENABLE_ONEDNN_OPTS"] = "0"
    environment = {**os.environ, **quiet_on_cpu, "PYTHONPATH": os.pathsep.join(paths)}
    with tempfile.TemporaryDirectory() as folder:
        job, arrays, report = (pathlib.Path(folder, name) for name in ("job", "a.npz", "report"))
        write_job(job, os.path.abspath(version_dir), runs, num_first, workers)
        command = [
            sys.executable,
            "-P",
            "-m",
            "lcma_tf.serving.runtime.clean_run",
            *map(str, (job, arrays, report)),
        ]
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
        return read_answers(arrays, report)


def _sentence(ended: subprocess.CompletedProcess[str]) -> str:
    for line in ended.stderr.splitlines():  # Among what TensorFlow's libraries log.
        if line.startswith(PREFIX):
            return line.removeprefix(PREFIX)
    last = ended.stderr.strip().splitlines()[-1:] or ["nothing"]
    return f"The process that verifies ended with code {ended.returncode}; it last said: {last[0]}"
