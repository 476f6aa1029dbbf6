"""What a run decides from its data before it trains: a rotation, the evidence of a rule, the splits.

All of it is the chief's; what is fitted or averaged is kept in the workdir, so that it is done once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from lcma_tf.config import FlowConfig, TrainConfig
from lcma_tf.data import ImageData
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.factorization import Factorization, decide_factorization, evidence_of
from lcma_tf.model import FlowModel
from lcma_tf.say import say
from lcma_tf.training.contributions import (
    average_contributions,
    average_gain,
    load_contributions,
    save_contributions,
)
from lcma_tf.training.image_statistics import fit_channel_rotation, sample_logits

__all__ = ["Decision"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """The decisions of one run.

    Args:
        flow, config, data, workdir: of the run.
    """

    flow: FlowConfig
    config: TrainConfig
    data: ImageData
    workdir: Workdir

    def undivided(self) -> Factorization:
        """That of the flow without splits: a rotation, if the run asks for one, fitted once."""
        path = self.workdir.undivided
        if path.exists():
            return Factorization.load(path)
        nothing_leaves = Factorization("none", self.flow.image_shape)
        if self.config.channel_rotation == "none" or self.flow.image_shape[-1] == 1:
            return nothing_leaves
        say("fit the rotation of the colours to the training set")
        rotation = fit_channel_rotation(self.flow, self.data.train)
        undivided = dataclasses.replace(nothing_leaves, rotations=[rotation])
        path.parent.mkdir(exist_ok=True)
        undivided.save(path)
        return undivided

    def average(self, evidence: str, model: FlowModel) -> None:
        """Leaves `contributions`, and `gain` if that is the evidence, of the pretrained `model`."""
        images, batch_size, seed = self.data.train, self.config.batch_size, self.config.seed
        path = self.workdir.contributions
        if not path.exists():
            say("average the log-det terms over the training set")
            save_contributions(path, average_contributions(model, images, batch_size, seed))
        path = self.workdir.evidence(evidence)
        if evidence == "gain" and not path.exists():
            say("average over the training set what each dimension gains by later layers")
            terms = load_contributions(self.workdir.contributions)
            save_contributions(path, average_gain(model, images, terms, batch_size, seed))

    def factorization(self) -> Factorization:
        """What the rule decides, once its evidence is there."""
        rotations, name = self.undivided().rotations, evidence_of(self.config.split_rule)
        evidence: dict[str, Any] = {}
        if name == "logits":
            rotation = rotations[0] if rotations else None
            evidence[name] = sample_logits(self.flow, self.data.train, rotation, self.config.seed)
        elif name is not None:
            evidence[name] = load_contributions(self.workdir.evidence(name))
        return decide_factorization(
            self.config.split_rule,
            image_shape=self.flow.image_shape,
            num_scales=self.flow.num_scales,
            rotations=rotations,
            seed=self.config.seed,
            **evidence,
        )
