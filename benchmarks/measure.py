"""Measures one contender in this process and prints one line of JSON; `benchmarks.run` starts it."""

from __future__ import annotations

import time

_PROCESS_START = time.time()  # A stand-in for `--started`, when run by hand.

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402

from benchmarks.architecture import DEVICES, BenchmarkConfig  # noqa: E402
from benchmarks.contenders import CONTENDERS, Contender  # noqa: E402
from benchmarks.load import Neighbours, memory_mib  # noqa: E402

__all__ = ["MEASURES", "main"]


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of this process."""

    config: BenchmarkConfig
    batch_sizes: list[int]
    seconds: float
    started: float

    def images(self, batch_size: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (batch_size, *self.config.image_shape), dtype=np.uint8)


def start(contender: Contender, request: Request) -> dict:
    """Time to the first finished step, process start included, and the size of the graph."""
    results = _first_step(contender, request)[1]
    return results | {"training_ops": contender.num_training_ops()}


def train(contender: Contender, request: Request) -> dict:
    """That, and the time of a step."""
    step, results = _first_step(contender, request)
    results |= _timed(step, request.seconds, warm_up=2, name="step")
    return results | {"peak_memory_mib": _peak_memory()}


def score(contender: Contender, request: Request) -> dict:
    """`log_prob` at each batch size."""
    return _throughput(request, "log_prob", lambda n: contender.log_prob(request.images(n)))


def sample(contender: Contender, request: Request) -> dict:
    """`sample` at each batch size."""
    return _throughput(request, "sample", contender.sample)


def pipeline(contender: Contender, request: Request) -> dict:
    """The input pipeline of lcma_tf alone, mirroring images as it goes."""
    del contender
    from lcma_tf.data import training_batches

    (batch_size,) = request.batch_sizes
    batches = iter(training_batches(request.images(10_000), batch_size, seed=0, flip=True))
    times = _timed(lambda: next(batches), request.seconds, warm_up=10, name="batch")
    return times | {"pipeline_images_per_s": batch_size / times["batch_s"]}


def phases(contender: Contender, request: Request) -> dict:
    """A whole run of lcma_tf's pipeline, rule `lcma`: the seconds of each part."""
    del contender
    import lcma_tf
    from benchmarks.contenders.lcma import flow_config
    from lcma_tf.stopwatch import STEPS, stopwatch

    (batch_size,) = request.batch_sizes
    config = flow_config(request.config, "")
    steps = max(2, int(4 * request.seconds))
    training = lcma_tf.TrainConfig(
        batch_size=batch_size, pretrain_steps=steps, train_steps=2 * steps, steps_per_epoch=steps
    )
    with tempfile.TemporaryDirectory() as workdir, stopwatch() as seconds:
        lcma_tf.train(config, request.images(1_500), training, workdir=workdir)
    seconds = {"start": time.time() - request.started - sum(seconds.values()), **seconds}
    names = {part: f"{part.replace(' ', '_')}_s" for part in seconds}
    return {names[part]: value for part, value in seconds.items()} | {
        "outside_steps_s": sum(seconds.values()) - seconds[STEPS],
        "peak_memory_mib": _peak_memory(),
    }


MEASURES = {f.__name__: f for f in (start, train, score, sample, pipeline, phases)}


def _first_step(contender: Contender, request: Request) -> tuple[Callable[[], float], dict]:
    (batch_size,) = request.batch_sizes
    step = contender.training_step(request.images(batch_size))
    loss = step()
    first = time.time() - request.started
    return step, {
        "first_step_s": first,
        "first_loss": loss,
        "peak_memory_mib": _peak_memory(),
    }


def _throughput(request: Request, what: str, run: Callable[[int], object]) -> dict:
    results = {}
    for batch_size in request.batch_sizes:
        name = f"{what}_{batch_size}"
        seconds = request.seconds / len(request.batch_sizes)
        results |= _timed(lambda n=batch_size: run(n), seconds, warm_up=2, name=name)
        results[f"{name}_images_per_s"] = batch_size / results[f"{name}_s"]
    return results | {"peak_memory_mib": _peak_memory()}


def _timed(run: Callable[[], object], seconds: float, warm_up: int, name: str) -> dict:
    """Repeats `run` for `seconds`, three times at least: median seconds on the clock and of CPU."""
    for _ in range(warm_up):
        run()
    neighbours, wall, cpu = Neighbours(), [], []
    end = time.perf_counter() + seconds
    while len(wall) < 3 or time.perf_counter() < end:
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - wall_start)
        cpu.append(time.process_time() - cpu_start)
    return {
        f"{name}_s": statistics.median(wall),
        f"{name}_cpu_s": statistics.median(cpu),
        f"{name}_repeats": len(wall),
        f"{name}_others": neighbours.share(),
    }


def _peak_memory() -> float:
    """MiB that were resident at most."""
    if found := memory_mib():
        return found["VmHWM"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(arguments: list[str] | None = None) -> None:
    values = vars(_parser().parse_args(arguments))
    names = [field.name for field in dataclasses.fields(BenchmarkConfig)]
    config = BenchmarkConfig(**{name: values[name] for name in names})
    started = values["started"] or _PROCESS_START
    request = Request(config, values["batch_size"], values["seconds"], started)

    entry = CONTENDERS[values["contender"]]
    before_import = time.perf_counter()
    module = importlib.import_module(f"benchmarks.contenders.{entry.module}")
    import_seconds = time.perf_counter() - before_import
    contender: Contender = module.build(config, entry.variant)
    results = MEASURES[values["measure"]](contender, request)
    results |= {
        "import_s": import_seconds,
        "num_parameters": contender.num_parameters,
        "conv_gflops": contender.conv_flops() / 1e9,
    }
    print(json.dumps(results), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=CONTENDERS, required=True)
    parser.add_argument("--measure", choices=MEASURES, required=True)
    parser.add_argument("--batch_size", type=int, nargs="+", default=[8])
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring")
    parser.add_argument("--started", type=float, help="when the process was started (time.time())")
    for field in dataclasses.fields(BenchmarkConfig):
        choices = DEVICES if field.name == "device" else None
        kind = type(field.default)
        parser.add_argument(f"--{field.name}", type=kind, default=field.default, choices=choices)
    return parser


if __name__ == "__main__":
    main()
