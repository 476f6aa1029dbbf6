"""A set larger than memory: `python -m benchmarks.large_data --folder=FOLDER`. See README.md here.

Made-up images go through the cache of decoded images (`lcma_tf.data.cache`) as a source's would; then,
in processes of their own, the set is opened and a tiny flow trained on it, and beside it on a smaller
one in memory. Memory is that of the process as Linux counts it: what is its own (`RssAnon`), and mapped
files (`RssFile`), which are page cache that the system takes back where it is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.load import memory_mib

if TYPE_CHECKING:
    from lcma_tf.data.cache import Store

__all__ = ["main"]

_STARTED = time.time()
_BATCH = 64
_IN_MEMORY = 100_000  # Images: 1.2 GB at 64x64.
_HELD_OUT = 500  # Of validation, and of test.
_TRAINED = 16  # Images a step, of _STEPS.
_STEPS = 60


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.child:
        print(json.dumps(_child(options)), flush=True)
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    needed = options.images * options.size**2 * 3
    free = shutil.disk_usage(options.folder).free
    print(f"{options.images:,} images, {needed / 1e9:.2f} GB; {free / 1e9:.0f} GB free", flush=True)
    for child in ("make", "cache", "memory"):
        result = _watched(child, options)
        print(child, json.dumps(result), flush=True)
        with open(options.folder / "large_data.jsonl", "a") as file:
            file.write(json.dumps({"child": child, **result}) + "\n")


def _watched(child: str, options: argparse.Namespace) -> dict:
    """What a process of its own measured, and the most memory that it had, in MiB."""
    command = [sys.executable, "-m", "benchmarks.large_data", f"--child={child}"]
    command += [
        f"--{name}={getattr(options, name)}" for name in ("folder", "images", "size", "seconds")
    ]
    most: dict[str, float] = {}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        while process.poll() is None:
            for name, value in memory_mib(process.pid).items():
                most[name] = max(most.get(name, 0), value)
            time.sleep(0.05)
        output.seek(0)
        last = output.read().splitlines()[-1:]
    if process.returncode or not last:
        raise RuntimeError(f"`{child}` ended with {process.returncode}")
    return json.loads(last[0]) | {f"{name}_mib": round(value) for name, value in most.items()}


def _child(options: argparse.Namespace) -> dict:
    from lcma_tf.data.cache import MEMORY, open_store

    begun = time.perf_counter()
    in_memory = options.child == "memory"
    store = MEMORY if in_memory else open_store(options.folder)
    count = min(options.images, _IN_MEMORY) if in_memory else options.images
    arrays = store.arrays(
        "made_up",
        {"size": options.size, "images": count},
        {},
        lambda filling: _make(filling, count, options.size),
    ).arrays
    opened = time.perf_counter() - begun
    result = {"images": count, "open_s": round(opened, 2)}
    if options.child == "make":
        return result
    return result | _trained(arrays["images"], store, options, begun)


def _trained(images: np.ndarray, store: Store, options: argparse.Namespace, begun: float) -> dict:
    """Time to a first batch, images a second of the pipeline alone, seconds a step, a whole run."""
    import keras

    import lcma_tf
    from lcma_tf.data import training_batches
    from lcma_tf.data.changed import with_fingerprint

    train, rest = images[: -2 * _HELD_OUT], images[-2 * _HELD_OUT :]
    data = lcma_tf.data.ImageData("made_up", train, rest[:_HELD_OUT], rest[_HELD_OUT:])
    data = with_fingerprint(data, store)  # As `lcma_tf.data.load` has it.
    batches = iter(training_batches(train, _BATCH, seed=0, flip=True))
    next(batches)
    result: dict[str, Any] = {
        "first_batch_s": round(time.perf_counter() - begun, 2),
        "since_start_s": round(time.time() - _STARTED, 2),
    }
    rates, cpu_rates = [], []
    for _ in range(5):
        start, cpu_start, passed = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < options.seconds / 5:
            next(batches)
            passed += _BATCH
        rates.append(passed / (time.perf_counter() - start))
        cpu_rates.append(passed / (time.process_time() - cpu_start))
    result["pipeline_images_per_s"] = [round(rate) for rate in rates]
    result["pipeline_images_per_cpu_s"] = [round(rate) for rate in cpu_rates]

    print(json.dumps(result), file=sys.stderr, flush=True)  # Should what follows be cut short.

    shape = images.shape[1:]
    flow = lcma_tf.FlowConfig(image_shape=shape, num_scales=1, base_dim=2, num_residual_blocks=1)
    model = lcma_tf.FlowModel(flow)
    model.compile(optimizer="adam")
    times: list[tuple[float, float]] = []

    def note(batch, logs=None):
        del batch, logs
        times.append((time.perf_counter(), time.process_time()))

    timer = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    batches = training_batches(train, _TRAINED, seed=0, flip=True)
    model.fit(batches, steps_per_epoch=_STEPS, epochs=1, verbose=0, callbacks=[timer])
    steps = np.diff(times[_STEPS // 10 :], axis=0)
    result["step_s"], result["step_cpu_s"] = np.median(steps, axis=0).round(4).tolist()
    print(json.dumps(result), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as workdir:
        run = lcma_tf.TrainConfig(
            split_rule="realnvp",
            train_steps=_STEPS,
            batch_size=_TRAINED,
            steps_per_epoch=_STEPS // 2,
            flip=True,
        )
        start = time.perf_counter()
        lcma_tf.train(flow, data, run, workdir=os.path.join(workdir, "run"))
        result["run_s"] = round(time.perf_counter() - start, 1)
    return result


def _make(filling, count: int, size: int) -> None:
    with filling.array("images", count) as sink:
        rng = np.random.default_rng(sink.filled)
        while sink.filled < count:
            rows = min(1_024, count - sink.filled)
            sink.append(rng.integers(0, 256, (rows, size, size, 3), dtype=np.uint8))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_data", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="of the cache; it stays there")
    parser.add_argument("--images", type=int, default=1_300_000)
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument(
        "--child", choices=("make", "cache", "memory"), help="what this process does"
    )
    return parser


if __name__ == "__main__":
    main()
