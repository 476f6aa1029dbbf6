"""Compares lcma_tf with its peers: `python -m benchmarks.run --suite=train`. See README.md here."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.architecture import DEVICES, BenchmarkConfig
from benchmarks.contenders import CONTENDERS, missing_packages
from benchmarks.report import markdown, summarize
from benchmarks.rounds import run_job, run_rounds
from benchmarks.suites import SUITES, jobs_of
from lcma_tf.processor import processor_fields

__all__ = ["main"]

PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "torch", "normflows", "numpy")
# As Linux names them; which kernels run depends on these.
VECTOR_UNITS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
INSTALL = "pip install -r requirements-benchmarks.txt"
SMOKE = {"image_size": 16, "base_dim": 4, "num_residual_blocks": 1}


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    # As at Ctrl-C: no process that it started stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    config = BenchmarkConfig(
        threads=options.threads, device=options.device, **(SMOKE if options.smoke else {})
    )
    batch_size = options.batch_size or (2 if options.smoke else 8)
    num_rounds = options.rounds or (1 if options.smoke else 3)
    seconds = options.seconds or (0.5 if options.smoke else 20.0)
    skipped = {name: missing_packages(name) for name in options.contenders}
    contenders = [name for name in options.contenders if not skipped[name]]
    skipped = {name: missing for name, missing in skipped.items() if missing}
    for name, missing in skipped.items():
        print(f"skipped: {name} needs {', '.join(missing)}: {INSTALL}", flush=True)

    machine = describe_machine(config)
    record = {
        "machine": machine,
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "rounds": num_rounds,
        "seconds": seconds,
        "skipped": skipped,
        "suites": {},
    }
    text = _heading(machine, batch_size, num_rounds, skipped)
    options.output.mkdir(parents=True, exist_ok=True)
    suites = SUITES if options.suite == "all" else [options.suite]
    with tempfile.TemporaryDirectory() as cache:
        run = functools.partial(run_job, seconds=seconds, timeout=options.timeout, cache=cache)
        for suite in suites:
            jobs = jobs_of(suite, config, batch_size, contenders, options.smoke)
            if not jobs:
                continue
            print(f"suite {suite}: {len(jobs)} processes a round", flush=True)
            rows = summarize(
                run_rounds(jobs, num_rounds, run, functools.partial(print, flush=True))
            )
            record["suites"][suite] = rows
            text += "\n" + markdown(suite, rows)
            # After every suite: what is measured is kept if a later one is cut short.
            name = f"benchmark_{options.suite}"
            (options.output / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
            (options.output / f"{name}.md").write_text(text)
    print(text)


def describe_machine(config: BenchmarkConfig) -> dict:
    """CPU and its vector units, cores, threads, device and versions of what was measured."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    cpu = processor_fields()
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "vector_units": [unit for unit in VECTOR_UNITS if unit in cpu.get("flags", "").split()],
        "cores": os.cpu_count(),
        "threads": config.threads,
        "device": _gpu_model() if config.device == "cuda" else "CPU",
        "system": platform.platform(),
        "versions": versions,
    }


def _gpu_model() -> str:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "GPU"
    return found.partition("\n")[0].strip() or "GPU"


def _heading(machine, batch_size, num_rounds, skipped) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    units = ", ".join(machine["vector_units"]) or "not known"
    lines = [
        f"{machine['cpu']} (vector units: {units}), {machine['cores']} cores, {machine['threads']} "
        f"threads, measured on {machine['device']}; {versions}.",
        f"Training batch {batch_size}. Medians of {num_rounds} interleaved rounds; in parentheses the "
        "ratio to PyTorch eager.",
        *(f"Skipped: {name} needs {', '.join(m)}: `{INSTALL}`." for name, m in skipped.items()),
    ]
    return "\n\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--suite", choices=(*SUITES, "all"), default="train")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every library")
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu", help="of every contender; one GPU if cuda"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmark_results"))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--batch_size", type=int, help="of training; 8 unless given")
    parser.add_argument("--rounds", type=int, help="3 unless given")
    parser.add_argument("--seconds", type=float, help="of measuring in each process, about")
    parser.add_argument("--timeout", type=float, default=1800.0, help="of each process, seconds")
    parser.add_argument("--smoke", action="store_true", help="a tiny configuration, one round")
    return parser


if __name__ == "__main__":
    main()
