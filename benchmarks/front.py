"""What a split costs and saves: test bits/dim against FLOPs and time, a point for each way to split.

    python -m benchmarks.front --cells=benchmarks/cells/natural32.jsonl --output=FILE.png

Of the rows of `lcma_tf.ablation --cells`, those of `--train_steps`, `--optimizer`, `--channel_rotation`
and `--whitening` are taken, the seeds of one flow and rule together. FLOPs are those of the
convolutions of one image forward, counted in the flow's graph. CPU seconds, a pretraining not counted,
are compared within one kind of processor alone: what is told is the mean over seeds of the ratio to that
of `--reference`, of that seed, there. `--again` is a file of runs that were made once more on another
processor: their seconds count, their bits/dim do not. A point is on the front if none that costs no more
FLOPs has fewer bits/dim.
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

_STATIC = "realnvp"  # The rule that the others are told beside.
# Where not usual: of the flow, and of the training.
_OF_FLOW = ("level_widths", "coupling_masks", "exit_prior", "flow", "coupling", "dequantization")
_OF_TRAINING = ("ema", "factorize_at_step")


class Point(NamedTuple):
    """The runs of one flow and rule.

    Args:
        name: of what is unusual in it.
        bits_per_dim: on the test images, one a seed.
        mflops: of the convolutions of one image, forward.
        time: CPU seconds in those of the reference; None = nowhere measured beside it.
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
    cells, again = (
        [cell for cell in Cells(path) if wanted.items() <= _train(cell).items()] if path else []
        for path in (options.cells, options.again)
    )
    points = sorted(_points(cells, again, options.reference), key=lambda point: point.mean)
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
    _draw(points, options.reference, options.output)


def _train(cell: Cell) -> dict:
    # Through the config, so that a field that came later has its default.
    return lcma_tf.TrainConfig.from_dict(cell.train).to_dict()


def _points(cells: Iterable[Cell], again: Iterable[Cell], reference: str) -> list[Point]:
    alike, seconds = (collections.defaultdict(list) for _ in range(2))
    for cell in cells:
        alike[_name(cell)].append(cell)
    for cell in (*cells, *again):
        if cell.cpu_seconds is not None:
            place = cell.processor, cell.train["seed"]
            seconds[_name(cell)].append((place, cell.cpu_seconds))
    beside = dict(seconds[reference])
    points = []
    for name, group in alike.items():
        ratios = [time / beside[place] for place, time in seconds[name] if place in beside]
        bits = [cell.metrics["test_bits_per_dim"] for cell in group]
        time = float(np.mean(ratios)) if ratios else None
        points.append(Point(name, bits, _mflops(group[0]), time))
    return points


def _name(cell: Cell) -> str:
    told = [cell.train["split_rule"]]
    kinds = (
        (lcma_tf.FlowConfig, cell.flow, _OF_FLOW),
        (lcma_tf.TrainConfig, cell.train, _OF_TRAINING),
    )
    for kind, given, fields in kinds:
        usual, config = kind().to_dict(), kind.from_dict(given).to_dict()
        told += [
            f"{field.replace('_', ' ')} {str(config[field]).strip('()')}"
            for field in fields
            if config[field] != usual[field]
        ]
    return ", ".join(told)


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


def _draw(points: list[Point], reference: str, path: Path) -> None:
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
    told = "the static rule" if reference == _STATIC else reference
    by_time.set_xlabel(f"CPU time of the run; that of {told} is 1")
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
    parser.add_argument("--again", type=Path, help="runs made again on another processor")
    parser.add_argument(
        "--reference", default=_STATIC, help="whose time is 1, as the table names it"
    )
    parser.add_argument("--output", type=Path, required=True, help="a PNG file")
    parser.add_argument("--train_steps", type=int, default=2_400)
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--channel_rotation", default="klt")
    parser.add_argument("--whitening", default="none")
    return parser


if __name__ == "__main__":
    main()
