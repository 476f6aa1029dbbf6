"""What a study found: figures, comparisons, CSV and JSON from the metrics of its finished runs.

It holds for a study that is half done, too: it says what is there. NumPy and SciPy only.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from lcma_tf.study.config import Arm
from lcma_tf.study.paired import (
    CONFIDENCE,
    PairedDifference,
    holm,
    mean_and_spread,
    paired_difference,
)

__all__ = ["BASELINE", "PAPER_TABLE_2", "Comparison", "StudyReport"]

BASELINE = "realnvp"
# Das et al. 2019, Table 2: bits/dim on CelebA 64x64, RealNVP at full size, one run each.
PAPER_TABLE_2 = {"random": 3.05, "lcma_reversed": 3.10, "realnvp": 3.02, "lcma": 2.71}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Arms of one budget against the static rule of that budget, seed by seed."""

    title: str
    baseline: Arm
    differences: Mapping[Arm, PairedDifference]


@dataclasses.dataclass(frozen=True)
class StudyReport:
    """The finished runs of a study, and what is told about them.

    Args:
        results: arm -> seed -> the run's `metrics.json`, finished runs only.
        train_steps: of the arms at equal steps.
        pretrain_steps: of the pretraining that the rules of one seed share; 0 = there is none, but in
            each run a warm-up.
        seeds: all seeds of the study, also of runs that are not finished.
        about: lines on the data set and the model.
        commands: what the study was run with.
        versions: name -> version of what ran it.
        failures: run -> why it ended without a result.
    """

    results: Mapping[Arm, Mapping[int, Mapping[str, Any]]]
    train_steps: int
    pretrain_steps: int
    seeds: tuple[int, ...]
    about: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    failures: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def figures(self, arm: Arm) -> dict[int, float]:
        """Test bits/dim of the finished runs of an arm, by seed."""
        return {seed: run["test_bits_per_dim"] for seed, run in self.results[arm].items()}

    def total_steps(self, arm: Arm) -> int:
        """Steps of an arm with those of its pretraining."""
        return arm.steps + self.pretrain_steps * arm.pretrains

    def comparisons(self) -> list[Comparison]:
        """At equal training steps, and at equal compute if the study has runs for it.

        The corrected p-values are those of all the tests together.
        """
        total = self.train_steps + self.pretrain_steps
        found = []
        budgets = (
            (
                f"At equal training steps ({self.train_steps:,}; a pretraining comes on top)",
                self.train_steps,
                [arm for arm in self.results if arm.steps == self.train_steps],
            ),
            (
                f"At equal compute ({total:,} steps in all, pretraining included)",
                total,
                [arm for arm in self.results if self.total_steps(arm) == total],
            ),
        )
        # Without a pretraining the two are one.
        for title, steps, arms in budgets if self.pretrain_steps else budgets[1:]:
            baseline = Arm(BASELINE, steps)
            if baseline in arms and len(arms) > 1:
                others = [arm for arm in arms if arm != baseline]
                differences = {arm: self._difference(arm, baseline) for arm in others}
                found.append(Comparison(title, baseline, differences))
        return _corrected(found)

    def summary(self, arm: Arm) -> tuple[float | None, float | None]:
        """Mean and standard deviation over seeds of the test bits/dim."""
        return mean_and_spread(list(self.figures(arm).values()))

    def _difference(self, arm: Arm, baseline: Arm) -> PairedDifference:
        ours, theirs = self.figures(arm), self.figures(baseline)
        common = [seed for seed in self.seeds if seed in ours and seed in theirs]
        return paired_difference([ours[s] for s in common], [theirs[s] for s in common])

    def num_parameters(self) -> list[int]:
        """The different parameter counts of the runs: one, if they can be compared."""
        return sorted({run["num_parameters"] for _, _, run in self.runs()})

    def agreement(self, arm: Arm) -> list[float]:
        """For each mask the share of dimensions treated as by the static rule, mean over seeds."""
        shares = [run["mask_agreement_with_realnvp"] for run in self.results[arm].values()]
        return np.mean(shares, axis=0).tolist() if shares else []

    def runs(self) -> list[tuple[Arm, int, Mapping[str, Any]]]:
        """All finished runs: arm, seed, metrics."""
        return [(arm, seed, run) for arm, by in self.results.items() for seed, run in by.items()]

    # As files.

    def to_dict(self) -> dict[str, Any]:
        """A JSON form of everything."""
        arms = [
            {
                "split_rule": arm.rule,
                "steps": arm.steps,
                "pretrain_steps": self.pretrain_steps * arm.pretrains,
                "test_bits_per_dim": {str(seed): v for seed, v in self.figures(arm).items()},
                **dict(zip(("mean", "standard_deviation"), self.summary(arm), strict=True)),
                "mask_agreement_with_realnvp": self.agreement(arm),
            }
            for arm in self.results
        ]
        comparisons = [
            {
                "title": comparison.title,
                "baseline": str(comparison.baseline),
                "confidence": CONFIDENCE,
                "differences": {
                    str(arm): dataclasses.asdict(d) for arm, d in comparison.differences.items()
                },
            }
            for comparison in self.comparisons()
        ]
        return {
            "about": list(self.about),
            "seeds": list(self.seeds),
            "num_parameters": self.num_parameters(),
            "arms": arms,
            "comparisons": comparisons,
            "runs": [{"run": f"seed_{s}/{arm}", **run} for arm, s, run in self.runs()],
            "failures": dict(self.failures),
            "paper_table_2_celeba": PAPER_TABLE_2,
            "commands": list(self.commands),
            "versions": dict(self.versions),
        }

    def to_csv(self) -> str:
        """One line a finished run."""
        names = ("test_bits_per_dim", "test_bits_per_dim_standard_error")
        names += ("validation_bits_per_dim", "num_parameters")
        num_masks = max([len(self.agreement(arm)) for arm in self.results], default=0)
        masks = [f"mask_{scale}_agreement_with_realnvp" for scale in range(1, num_masks + 1)]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["split_rule", "seed", "steps", "pretrain_steps", "total_steps", *names, *masks, "run"]
        )
        for arm, seed, run in self.runs():
            steps = (arm.steps, self.pretrain_steps * arm.pretrains, self.total_steps(arm))
            shares = run["mask_agreement_with_realnvp"]
            figures = [run.get(name) for name in names]
            writer.writerow([arm.rule, seed, *steps, *figures, *shares, f"seed_{seed}/{arm}"])
        return file.getvalue()


def _corrected(comparisons: list[Comparison]) -> list[Comparison]:
    """The same, with Holm's p-values for all their tests together."""
    tests = {
        (place, arm): difference.p_value
        for place, comparison in enumerate(comparisons)
        for arm, difference in comparison.differences.items()
        if difference.p_value is not None
    }
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
    return [
        dataclasses.replace(
            comparison,
            differences={
                arm: dataclasses.replace(d, corrected_p_value=corrected.get((place, arm)))
                for arm, d in comparison.differences.items()
            },
        )
        for place, comparison in enumerate(comparisons)
    ]
