"""What an ablation study compares: split rules, each over the same seeds. Plain Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lcma_tf.choices import RULES
from lcma_tf.config import MAX_SEED, FlowConfig, TrainConfig, require
from lcma_tf.factorization import evidence_of, needs_pretraining

__all__ = ["Arm", "StudyConfig", "extra_steps", "run_configs"]


@dataclasses.dataclass(frozen=True)
class Arm:
    """One side of the comparison: a split rule, and for how many steps it trains."""

    rule: str
    steps: int

    @property
    def pretrains(self) -> bool:
        """Whether the rule is decided by a flow without splits: a pretraining, or a warm-up."""
        return needs_pretraining(self.rule)

    @property
    def pretrained_evidence(self) -> tuple[str, ...]:
        """What of the pretraining is kept with the run: contributions always, last what is read."""
        if not self.pretrains:
            return ()
        return tuple(dict.fromkeys(["contributions", evidence_of(self.rule) or "contributions"]))

    def __str__(self):
        return f"{self.rule}-{self.steps}"


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """Which runs a study has: every rule with every seed, under one config.

    The defaults are the paper's Table 2, in its order, with three seeds.

    Args:
        split_rules: the rules, in the order of the tables and pictures.
        seeds: of the runs; each rule has a run with each seed. The first one's samples are drawn.
        equal_compute: rules without a pretraining also run for as many steps as the others take in
            all, pretraining included.

    Raises:
        ConfigError: no rule or no seed, an unknown or bad one, or one given twice.
    """

    split_rules: tuple[str, ...] = ("random", "lcma_reversed", "realnvp", "lcma")
    seeds: tuple[int, ...] = (0, 1, 2)
    equal_compute: bool = False

    def __post_init__(self):
        for name in ("split_rules", "seeds"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            require(len(values) > 0, name, "at least one", values)
            require(len(set(values)) == len(values), name, "given once each", list(values))
        for rule in self.split_rules:
            require(rule in RULES, "split_rules", f"of {', '.join(RULES)}", rule)
        for seed in self.seeds:
            is_int = isinstance(seed, int) and not isinstance(seed, bool)
            in_range = is_int and 0 <= seed <= MAX_SEED
            require(in_range, "seeds", f"integers from 0 to {MAX_SEED}", seed)

    @property
    def most_demanding_rule(self) -> str:
        """One that is decided after a pretraining, if there is any: for it a pretraining is checked."""
        return max(self.split_rules, key=needs_pretraining)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form: the fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudyConfig:
        """The inverse of `to_dict`."""
        return cls(**values)

    def joined(self, other: StudyConfig) -> StudyConfig:
        """The study with the rules and seeds of both, those of this one first."""
        return StudyConfig(
            tuple(dict.fromkeys(self.split_rules + other.split_rules)),
            tuple(dict.fromkeys(self.seeds + other.seeds)),
            self.equal_compute or other.equal_compute,
        )

    def arms(self, train: TrainConfig) -> tuple[Arm, ...]:
        """What is compared: each rule at `train.train_steps`, then those with extra steps."""
        equal_steps = [Arm(rule, train.train_steps) for rule in self.split_rules]
        total = train.train_steps + extra_steps(train)
        longer = [Arm(arm.rule, total) for arm in equal_steps if not arm.pretrains]
        is_wanted = self.equal_compute and total > train.train_steps
        return (*equal_steps, *(longer if is_wanted else ()))


def extra_steps(train: TrainConfig) -> int:
    """Steps of the pretraining that comes on top; 0 where a warm-up is a part of each run."""
    return train.pretrain_steps if train.factorize_at_step is None else 0


def run_configs(
    arm: Arm, seed: int, flow: FlowConfig, train: TrainConfig
) -> tuple[FlowConfig, TrainConfig]:
    """The configs of one run of a study: those of the study but for rule, steps and seed."""
    # The steps of a pretraining are those of the study, also where `arm` trains for longer.
    changes = {"split_rule": arm.rule, "train_steps": arm.steps, "seed": seed}
    if not arm.pretrains:
        changes["factorize_at_step"] = None  # It has nothing to wait for.
    return dataclasses.replace(flow, seed=seed), dataclasses.replace(train, **changes)
