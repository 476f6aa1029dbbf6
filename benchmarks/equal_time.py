"""Bits/dim against the processor's time, flow by flow: a picture and a table of what runs left.

    python -m benchmarks.equal_time --cells=FILE.jsonl --normflows=FILE.jsonl --output=FILE.png

`--cells` are rows of `lcma_tf.ablation --cells`, whose seconds count the whole run, scoring and drawing
included; `--normflows` is what `benchmarks.normflows_training` wrote, whose seconds are those of its
training steps alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import lcma_tf
from lcma_tf.plots.figure import new_figure, save_figure

__all__ = ["main"]


class Curve(NamedTuple):
    """What one run left.

    Args:
        name: what was trained.
        seconds, bits_per_dim: CPU seconds, and on the validation images then.
        test: on the test images, at the end.
        parameters: how many numbers are trained.
    """

    name: str
    seconds: list[float]
    bits_per_dim: list[float]
    test: float
    parameters: int


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    curves = [_of_cell(json.loads(line)) for line in options.cells.read_text().splitlines()]
    for path in options.normflows:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        curves.append(_of_normflows(lines))
    curves.sort(key=lambda curve: curve.test)
    _draw(curves, options.output)
    print(
        "| flow | parameters | CPU seconds | validation | test |\n| --- | --- | --- | --- | --- |"
    )
    for curve in curves:
        last = f"{curve.seconds[-1]:,.0f} | {curve.bits_per_dim[-1]:.3f} | {curve.test:.3f}"
        print(f"| {curve.name} | {curve.parameters:,} | {last} |")


def _of_cell(row: dict[str, Any]) -> Curve:
    flow, train, metrics = row["flow"], row["train"], row["metrics"]
    kind = {"realnvp": "RealNVP", "glow": "Glow"}[flow["flow"]]
    said = [f"lcma_tf's {kind}", f"rule {train['split_rule']}", train["optimizer"]]
    said += ["colours turned"] if train["channel_rotation"] != "none" else []
    said += ["whitened"] if train.get("whitening", "none") != "none" else []
    said += [f"alpha {flow['alpha']:g}"] if flow["alpha"] != lcma_tf.FlowConfig.alpha else []
    steps = row["curve"]["step"]
    seconds = [row["cpu_seconds"] * step / steps[-1] for step in steps]  # Steps take equal time.
    return Curve(
        ", ".join(said),
        seconds,
        row["curve"]["val_bits_per_dim"],
        metrics["test_bits_per_dim"],
        metrics["num_parameters"],
    )


def _of_normflows(lines: list[dict[str, Any]]) -> Curve:
    return Curve(
        "normflows' Glow, adam",
        [line["cpu_seconds"] for line in lines],
        [line["val_bits_per_dim"] for line in lines],
        lines[-1]["test_bits_per_dim"],
        lines[-1]["num_parameters"],
    )


def _draw(curves: list[Curve], path: Path) -> None:
    figure = new_figure(7.5, 4.5)
    axes = figure.subplots()
    for curve in curves:
        minutes = [seconds / 60 for seconds in curve.seconds]
        label = f"{curve.name}: test {curve.test:.3f}"
        axes.plot(minutes, curve.bits_per_dim, marker="o", markersize=3, label=label)
    axes.set_xlabel("minutes of one processor core")
    axes.set_ylabel("bits/dim on the validation images; lower is better")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    save_figure(figure, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--normflows", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True, help="a PNG file")
    return parser


if __name__ == "__main__":
    main()
