"""`normflows`' Glow trained on images, for comparisons at equal time.

    python -m benchmarks.normflows_training --images=FILE.npz --train_steps=N --output=FILE.jsonl

Recipe and schedule are those of a run of `lcma_tf.train` with `--flow=glow`: Adam, warm-up, then cosine,
clipped gradients; images are drawn with replacement. Every so many steps the validation images are
scored; the time of that is not counted. `benchmarks.equal_time` draws what it leaves beside runs of
lcma_tf.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.contenders.normflows_glow import bits_per_dim, multi_scale_glow, nats

__all__ = ["main"]

_CLIP_NORM = 100.0  # Of nats per image, as `lcma_tf.TrainConfig` has it.


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    with np.load(options.images) as file:
        train, validation, test = (
            torch.from_numpy(file[split]).permute(0, 3, 1, 2).contiguous()
            for split in ("train", "validation", "test")
        )
    _, channels, size, _ = train.shape
    flow = multi_scale_glow(channels, size, options.levels, options.steps_per_level, options.width)
    optimizer = torch.optim.Adam(flow.parameters(), lr=options.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, options))
    order = np.random.default_rng(options.seed)

    wall = cpu = 0.0
    wall_start, cpu_start = time.perf_counter(), time.process_time()
    for step in range(1, options.train_steps + 1):
        batch = train[order.integers(0, len(train), options.batch_size)]
        loss = _step(flow, optimizer, batch)
        schedule.step()
        if step % options.steps_per_epoch and step != options.train_steps:
            continue
        wall += time.perf_counter() - wall_start
        cpu += time.process_time() - cpu_start
        line = {"step": step, "seconds": wall, "cpu_seconds": cpu, "loss": loss}
        line["val_bits_per_dim"] = float(bits_per_dim(flow, validation).mean())
        if step == options.train_steps:
            line["test_bits_per_dim"] = float(bits_per_dim(flow, test).mean())
            line["num_parameters"] = sum(p.numel() for p in flow.parameters())
        print(json.dumps(line), flush=True)
        with open(options.output, "a") as file:
            file.write(json.dumps(line) + "\n")
        wall_start, cpu_start = time.perf_counter(), time.process_time()


def _rate(step: int, options: argparse.Namespace) -> float:
    """What the learning rate of `step` is multiplied by."""
    if step < options.warmup_steps:
        return step / options.warmup_steps
    done = (step - options.warmup_steps) / max(1, options.train_steps - options.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def _step(flow, optimizer: torch.optim.Optimizer, batch: torch.Tensor) -> float:
    flow.train()
    optimizer.zero_grad(set_to_none=True)
    loss = -nats(flow, batch).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(flow.parameters(), _CLIP_NORM)
    optimizer.step()
    return loss.item()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="npz: train, validation, test")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--train_steps", type=int, required=True)
    parser.add_argument("--steps_per_epoch", type=int, default=300, help="between validations")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--warmup_steps", type=int, default=50)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--steps_per_level", type=int, default=8)
    parser.add_argument("--width", type=int, default=64, help="maps inside the networks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
