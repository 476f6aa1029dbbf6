"""What a split costs and saves: test bits/dim against FLOPs and time, a point for each way to split.

    python -m benchmarks.front --cells=benchmarks/cells/natural32.jsonl --output=FILE.png

Of the rows of `lcma_tf.ablation --cells`, those of `--train_steps`, `--optimizer`, `--channel_rotation`
and `--whitening` are taken, the seeds of one flow and rule together. FLOPs are those of the
convolutions of one image forward, counted in the flow's graph. CPU seconds, a pretraining not counted,
are compared within one kind of processor alone: what is told is the mean over seeds of the ratio to the
static rule's of that seed, there. A point is on the front if none that costs no more FLOPs has fewer
bits/dim.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import lcma_tf
from benchmarks.contenders.tensorflow_graph import count_conv_flops
from lcma_tf.plots.figure import new_figure, save_figure
from lcma_tf.study.cells import Cell, Cells

__all__ = ["main"]

_STATIC = "realnvp"
_TOLD = ("level_widths", "coupling_masks", "exit_prior", "flow", "coupling")  # Where not usual.


class Point(NamedTuple):
    """The runs of one flow and rule.

    Args:
        name: of what is unusual in it.
        bits_per_dim: on the test images, one a seed.
        mflops: of the convolutions of one image, forward.
        time: CPU seconds in those of the static rule; None = nowhere measured beside it.
    """

    name: str
    bits_per_dim: list[float]
    mflops: float
    time: float | None

    @property
    def mean(self) -> float:
        return float(np.mean(self.bits_per_dim))


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    names = ("train_steps", "optimizer", "channel_rotation", "whitening")
    wanted = {name: getattr(options, name) for name in names}
    cells = [cell for cell in Cells(options.cells) if wanted.items() <= _train(cell).items()]
    points = sorted(_points(cells), key=lambda point: point.mean)
    if not points:
        raise SystemExit(f"error: `cells` must hold runs of {wanted}; {options.cells} has none.")
    print("| way to split | test bits/dim | MFLOP an image | CPU time | on the front |")
    print("| --- | --- | --- | --- | --- |")
    for point in points:
        spread = (
            f" ± {np.std(point.bits_per_dim, ddof=1):.3f}" if len(point.bits_per_dim) > 1 else ""
        )
        seeds = f"{point.mean:.3f}{spread} ({len(point.bits_per_dim)})"
        time = "" if point.time is None else f"{point.time:.2f}"
        front = "yes" if _is_on_front(point, points) else ""
        print(f"| {point.name} | {seeds} | {point.mflops:.1f} | {time} | {front} |")
    _draw(points, options.output)


def _train(cell: Cell) -> dict:
    # Through the config, so that a field that came later has its default.
    return lcma_tf.TrainConfig.from_dict(cell.train).to_dict()


def _points(cells: Iterable[Cell]) -> list[Point]:
    static = {}
    alike: dict[str, list[Cell]] = collections.defaultdict(list)
    for cell in cells:
        name = _name(cell)
        alike[name].append(cell)
        if name == _STATIC and cell.cpu_seconds is not None:
            static[cell.processor, cell.train["seed"]] = cell.cpu_seconds
    points = []
    for name, group in alike.items():
        ratios = [
            cell.cpu_seconds / static[cell.processor, cell.train["seed"]]
            for cell in group
            if cell.cpu_seconds is not None and (cell.processor, cell.train["seed"]) in static
        ]
        bits = [cell.metrics["test_bits_per_dim"] for cell in group]
        time = float(np.mean(ratios)) if ratios else None
        points.append(Point(name, bits, _mflops(group[0]), time))
    return points


def _name(cell: Cell) -> str:
    usual, flow = (
        config.to_dict()
        for config in (lcma_tf.FlowConfig(), lcma_tf.FlowConfig.from_dict(cell.flow))
    )
    unusual = [field for field in _TOLD if flow[field] != usual[field]]
    told = (f"{field.replace('_', ' ')} {str(flow[field]).strip('()')}" for field in unusual)
    return ", ".join([cell.train["split_rule"], *told])


def _mflops(cell: Cell) -> float:
    """Of the networks: what is fixed before them, some 0.1 % of these, is left out."""
    config = lcma_tf.FlowConfig.from_dict(cell.flow)
    # Every rule with splits has as many dimensions in each layer as the static one.
    rule = "none" if cell.train["split_rule"] == "none" else _STATIC
    factorization = lcma_tf.decide_factorization(
        rule, image_shape=config.image_shape, num_scales=config.num_scales
    )
    image = tf.TensorSpec([1, *config.image_shape], tf.uint8)
    return count_conv_flops(lcma_tf.FlowModel(config, factorization), image) / 1e6


def _is_on_front(point: Point, points: Iterable[Point]) -> bool:
    return not any(p.mean < point.mean and p.mflops <= point.mflops for p in points)


def _draw(points: list[Point], path: Path) -> None:
    figure = new_figure(10, 5)
    by_flops, by_time = figure.subplots(1, 2, sharey=True)
    for number, point in enumerate(points):
        style = {
            "color": f"C{number}",
            "marker": "o" if _is_on_front(point, points) else "x",
            "linestyle": "none",
        }
        by_flops.plot([point.mflops] * len(point.bits_per_dim), point.bits_per_dim, **style)
        by_flops.plot([], [], label=f"{point.name}: {point.mean:.3f}", **style)
        if point.time is not None:
            by_time.plot([point.time], [point.mean], **style)
    by_flops.set_xlabel("MFLOP of convolutions, an image forward")
    by_flops.set_ylabel("test bits/dim, a point a seed; lower is better")
    by_time.set_xlabel("CPU time of the training; the static rule's is 1")
    # Below, as points may lie anywhere.
    figure.legend(
        loc="outside lower center", ncols=2, fontsize=7, title="o: on the front", title_fontsize=7
    )
    for axes in (by_flops, by_time):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a PNG file")
    parser.add_argument("--train_steps", type=int, default=2_400)
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--channel_rotation", default="klt")
    parser.add_argument("--whitening", default="none")
    return parser


if __name__ == "__main__":
    main()
