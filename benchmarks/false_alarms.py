"""False alarms of a calibration on images of its own kind, over random divisions of them.

    python -m benchmarks.false_alarms --workdir=RUN --images=FILE.npz --groups=photo

The arrays `validation` and `test` of the file are pooled and divided at random into two halves, by group
(`validation_photo` and `test_photo` say of which an image is): one calibrates, of the other the false
alarms are counted. Twice: as if each image were by itself, and with its group left out as a whole where
the calibration judges itself. The first line is of the division that the file has.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
import tensorflow as tf

import lcma_tf
from lcma_tf.scores.calibrate import held_out_strangeness
from lcma_tf.scores.measures import Measures
from lcma_tf.scores.related import group_numbers
from lcma_tf.scores.states import States
from lcma_tf.scores.tail import Tail

__all__ = ["main"]

_RATES = (0.01, 0.05)
_SCORE = "density_of_states"
_SPLITS = ("validation", "test")
_WAYS = (("by themselves", False), ("in groups", True))

Columns = dict[str, np.ndarray]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    model = lcma_tf.load(options.workdir)
    with np.load(options.images) as archive:
        images = [archive[split] for split in _SPLITS]
        groups = np.concatenate([archive[f"{split}_{options.groups}"] for split in _SPLITS])
    groups = group_numbers(groups, len(groups))
    columns = _measured(model, np.concatenate(images))
    size = model.config.num_dimensions

    print("| division | images are | alarms at 1 % | at 5 % |\n| --- | --- | --- | --- |")
    known = np.arange(len(groups)) < len(images[0])
    for how, by_group in _WAYS:
        shares = _false_alarms(columns, groups, known, by_group, size)
        print(f"| that of the file | {how} | " + " | ".join(f"{s:.2%}" for s in shares) + " |")
    for how, by_group in _WAYS:
        shares = []
        for seed in range(options.divisions):
            rng = np.random.default_rng(seed)
            chosen = rng.permutation(groups.max() + 1)[: (groups.max() + 1) // 2]
            known = np.isin(groups, chosen)
            shares.append(_false_alarms(columns, groups, known, by_group, size, rng))
        found = np.array(shares)
        within = np.mean(np.abs(found - _RATES) <= 0.005, axis=0)
        texts = [
            f"{column.mean():.2%} ± {column.std(ddof=1):.2%}, within 0.5 points {share:.0%}"
            for column, share in zip(found.T, within, strict=True)
        ]
        print(f"| {options.divisions} at random | {how} | {' | '.join(texts)} |")


def _measured(model: lcma_tf.FlowModel, images: np.ndarray, batch_size: int = 100) -> Columns:
    measures = Measures(model.frozen(), model.factorization)
    bar = keras.utils.Progbar(len(images), unit_name="image")
    rows = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        rows.append({name: c.numpy() for name, c in measures.of(tf.constant(batch)).items()})
        bar.add(len(batch))
    return {name: np.concatenate([row[name] for row in rows]) for name in measures.names}


def _false_alarms(
    columns: Columns,
    groups: np.ndarray,
    known: np.ndarray,
    by_group: bool,
    num_dimensions: int,
    rng: np.random.Generator | None = None,
) -> list[float]:
    """Shares of the images that are not `known` that alarm, at each rate, where those calibrate.

    Args:
        rng: what shuffles the known ones; None = they are in the order that they have.
    """
    chosen = np.flatnonzero(known)
    chosen = chosen if rng is None else rng.permutation(chosen)
    own = {name: column[chosen] for name, column in columns.items()}
    related = group_numbers(groups[chosen], len(chosen)) if by_group else None
    tail = Tail.of(_SCORE, held_out_strangeness(own, num_dimensions, related)[_SCORE])
    others = {name: tf.constant(column[~known]) for name, column in columns.items()}
    log_shares = tail.log_share(-States.of(own).log_density(others)).numpy()
    return [float(np.mean(log_shares <= np.log(rate))) for rate in _RATES]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", required=True, help="of a finished run")
    parser.add_argument("--images", required=True, help="npz with validation and test")
    parser.add_argument("--groups", default="photo", help="their arrays of groups end so")
    parser.add_argument("--divisions", type=int, default=40)
    return parser


if __name__ == "__main__":
    main()
