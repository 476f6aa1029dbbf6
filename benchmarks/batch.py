"""Many images into one table: `python -m benchmarks.batch`. How fast, in how much memory, and killed.

The loop of `lcma_tf.score` beside the bare model, over images that are made up here: a colour each, and
noise. Both take turns over the same images in one process, so that whoever else is at work slows both;
the ratio is told of CPU seconds and of the clock. Then the command itself, in processes of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import lcma_tf
from benchmarks.architecture import BenchmarkConfig
from benchmarks.batch_process import Command, killed_and_resumed, peak_mib
from benchmarks.contenders import tensorflow_graph
from benchmarks.contenders.lcma import LcmaContender
from benchmarks.load import Neighbours
from lcma_tf.batch.rows import open_input
from lcma_tf.batch.score import Job
from lcma_tf.batch.scorer import flow_scorer
from lcma_tf.experiment.calibrated import scored_flow
from lcma_tf.experiment.workdir import Workdir

__all__ = ["Subject", "main", "prepare", "throughput"]

_PARTS = 10  # Arrays of the file: one of them is the tenth of the images.
_CALIBRATED_WITH = 256


class Subject(NamedTuple):
    """A calibrated run, and a file of images in `_PARTS` arrays, of which `--input` may name one."""

    run: Path
    file: Path

    def input(self, part: int) -> str:
        return f"npz:{self.file}:part_{part}"


def prepare(folder: Path, config: BenchmarkConfig, num_images: int) -> Subject:
    """A flow of random weights, calibrated, and `num_images` images; below `folder`."""
    subject = Subject(folder / "run", folder / "images.npz")
    model = LcmaContender(config).model
    workdir = Workdir(subject.run)
    workdir.claim(model.config, lcma_tf.TrainConfig(dataset="npz:none.npz"))
    model.save(workdir.model)
    rng = np.random.default_rng(0)
    parts = np.array_split(_made_up(rng, num_images, config), _PARTS)
    np.savez(subject.file, **{f"part_{number}": part for number, part in enumerate(parts)})
    known = _made_up(rng, _CALIBRATED_WITH, config)
    lcma_tf.calibrate(model, known, verbose=False).save(workdir.calibration)
    return subject


def _made_up(rng: np.random.Generator, count: int, config: BenchmarkConfig) -> np.ndarray:
    """Uint8 `[count, H, W, 3]`: a colour each, and noise."""
    colour = rng.integers(0, 200, (count, 1, 1, 3), dtype=np.uint8)
    return colour + rng.integers(0, 56, (count, *config.image_shape), dtype=np.uint8)


def throughput(subject: Subject, folder: Path, batch_size: int) -> dict[str, float]:
    """Images a second by the model alone, images in memory, and by a job; part after part in turns."""
    flow = scored_flow(Workdir(subject.run))
    scorer, frozen = flow_scorer(flow), lcma_tf.load(subject.run).frozen()

    def bare(images: np.ndarray) -> None:
        for start in range(0, len(images), batch_size):
            frozen.log_prob(images[start : start + batch_size]).numpy()

    def job(part: int) -> None:
        rows, output = open_input(subject.input(part)), folder / f"part_{part}.csv"
        Job(rows, scorer, output, batch_size=batch_size).run(verbose=False)

    count, bare_spent, job_spent = 0, np.zeros(2), np.zeros(2)
    neighbours = Neighbours()
    with np.load(subject.file) as archive:
        bare(archive["part_0"][:batch_size])  # Traced; so is the other, by its scorer.
        scorer.scores(archive["part_0"][:batch_size])
        for part in range(_PARTS):
            images = archive[f"part_{part}"]
            count += len(images)
            before = _now()
            bare(images)
            between = _now()
            job(part)
            after = _now()
            bare_spent += between - before
            job_spent += after - between
    (bare_wall, bare_cpu), (job_wall, job_cpu) = bare_spent.tolist(), job_spent.tolist()
    return {
        "images": count,
        "bare_images_per_s": count / bare_wall,
        "score_images_per_s": count / job_wall,
        "bare_cpu_ms_per_image": 1e3 * bare_cpu / count,
        "score_cpu_ms_per_image": 1e3 * job_cpu / count,
        "ratio_wall": bare_wall / job_wall,
        "ratio_cpu": bare_cpu / job_cpu,
        "others": neighbours.share() or 0.0,
    }


def _now() -> np.ndarray:
    """Seconds on the clock and of CPU, all threads together."""
    return np.array([time.perf_counter(), time.process_time()])


MEASURES = ("throughput", "memory", "kills")


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    fields = {field.name for field in dataclasses.fields(BenchmarkConfig)} & vars(options).keys()
    config = BenchmarkConfig(**{name: getattr(options, name) for name in fields})
    tensorflow_graph.prepare(config)
    found: dict[str, object] = {"config": dataclasses.asdict(config), "images": options.images}
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output) as name:
        folder = Path(name).resolve()
        subject = prepare(folder, config, options.images)
        settings = options.batch_size, config.threads
        whole = Command(subject.run, f"npz:{subject.file}", folder / "whole.csv", *settings)
        tenth = Command(subject.run, subject.input(0), folder / "tenth.csv", *settings)
        measures = {
            "throughput": lambda: throughput(subject, folder, options.batch_size),
            "memory": lambda: {"tenth_mib": peak_mib(tenth), "whole_mib": peak_mib(whole)},
            "kills": lambda: {
                "csv, whole": killed_and_resumed(whole, options.kills),
                "parquet, tenth": killed_and_resumed(
                    tenth._replace(output=folder / "tenth.parquet"), options.kills
                ),
            },
        }
        for measure in options.measures:
            found[measure] = measures[measure]()
            print(measure, json.dumps(found[measure]), flush=True)
            # After each: what is measured is kept if a later one is cut short.
            path = options.output / "benchmark_batch.json"
            path.write_text(json.dumps(found, indent=1) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__)
    parser.add_argument("--images", type=int, default=100_000, help="at least 10")
    parser.add_argument("--batch_size", type=int, default=64, help="images a pass")
    parser.add_argument("--kills", type=int, default=5, help="of each kind of table")
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--output", type=Path, default=Path("benchmark_results"))
    # By default the flow of the quickstart.
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--num_scales", type=int, default=3)
    parser.add_argument("--base_dim", type=int, default=16)
    parser.add_argument("--num_residual_blocks", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser


if __name__ == "__main__":
    main()
