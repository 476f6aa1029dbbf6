"""What a split costs and saves: test bits/dim against FLOPs and time, a point for each way to train.

    python -m benchmarks.front --cells=benchmarks/cells/natural32.jsonl --output=FILE.png

Of the rows of `lcma_tf.ablation --cells`, those of `--train_steps`, `--optimizer`, `--channel_rotation`
and `--whitening` are taken, those together that differ in their seed alone. FLOPs are those of the
convolutions of one image forward, counted in the flow's graph. CPU seconds, a pretraining not counted
but where it is part of the run (`factorize_at_step`), are compared within one kind of processor alone:
what is told is the mean over seeds of the ratio to that of `--reference`, of that seed, there.
`--again` is a file of runs that were made once more on another processor: their seconds count, their
bits/dim do not. A point is on the front if none that costs no more FLOPs has fewer bits/dim.
"""

from __future__ import annotations

import argparse
import collections
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import lcma_tf
from benchmarks.contenders.tensorflow_graph import count_conv_flops
from lcma_tf.plots.figure import new_figure, save_figure
from lcma_tf.study.cells import Cell, Cells

__all__ = ["main"]

_STATIC = "realnvp"  # The rule that the others are told beside.


class Point(NamedTuple):
    """The runs that differ in their seed alone.

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
        [cell for cell in Cells(path) if wanted.items() <= _options(cell).items()] if path else []
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


def _points(cells: Sequence[Cell], again: Sequence[Cell], reference: str) -> list[Point]:
    alike, seconds = (collections.defaultdict(list) for _ in range(2))
    usual = _usual(cells)
    for cell in cells:
        alike[_name(cell, usual)].append(cell)
    for cell in (*cells, *again):
        if cell.cpu_seconds is not None:
            place = cell.processor, cell.train["seed"]
            seconds[_name(cell, usual)].append((place, cell.cpu_seconds))
    beside = dict(seconds[reference])
    points = []
    for name, group in alike.items():
        ratios = [time / beside[place] for place, time in seconds[name] if place in beside]
        bits = [cell.metrics["test_bits_per_dim"] for cell in group]
        time = float(np.mean(ratios)) if ratios else None
        points.append(Point(name, bits, _mflops(group[0]), time))
    return points


def _usual(cells: Iterable[Cell]) -> dict[str, Any]:
    """By option: what all runs have, or the default; of numbers, as widths and rates, what most have."""
    found = collections.defaultdict(collections.Counter)
    for cell in cells:
        for name, value in _options(cell).items():
            found[name][value] += 1
    usual = {**lcma_tf.TrainConfig().to_dict(), **lcma_tf.FlowConfig().to_dict()}
    for name, counts in found.items():
        if len(counts) == 1 or isinstance(usual[name], numbers.Number):
            usual[name] = counts.most_common(1)[0][0]
    return usual


def _name(cell: Cell, usual: Mapping[str, Any]) -> str:
    """The rule, and what else is not as usual."""
    told = (
        f"{name.replace('_', ' ')} {str(value).strip('()')}"
        for name, value in _options(cell).items()
        if value != usual[name]
    )
    return ", ".join([cell.train["split_rule"], *told])


def _options(cell: Cell) -> dict[str, Any]:
    """All that tells runs from one another, but for rule and seed."""
    flow, train = cell.options
    return {k: v for k, v in {**train, **flow}.items() if k not in ("seed", "split_rule")}


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
    from matplotlib import colormaps

    colors = colormaps["tab20" if len(points) > 10 else "tab10"]
    by_flops, by_time = figure.subplots(1, 2, sharey=True)
    for number, point in enumerate(points):
        style = {
            "color": colors(number % 20),
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
