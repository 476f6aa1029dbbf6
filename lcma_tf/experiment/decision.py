"""What a run decides from its data before it trains: rotation, whitening, a rule's evidence, the splits.

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
from lcma_tf.training.image_statistics import fit_channel_rotation, fit_whitening, sample_logits

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
        """That of the flow without splits: the rotation and whitening asked for, fitted once."""
        path = self.workdir.undivided
        if path.exists():
            return Factorization.load(path)
        config, images = self.config, self.data.train
        undivided = nothing_leaves = Factorization("none", self.flow.image_shape)
        if config.channel_rotation != "none" and self.flow.image_shape[-1] > 1:
            say("fit the rotation of the colours to the training set")
            rotation = fit_channel_rotation(self.flow, images)
            undivided = dataclasses.replace(undivided, rotations=[rotation])
        if config.whitening != "none":
            say("fit the whitening to the training set")
            whitening = fit_whitening(self.flow, images, undivided, config.seed)
            undivided = dataclasses.replace(undivided, whitening=whitening)
        if undivided == nothing_leaves:
            return undivided
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
        undivided, name = self.undivided(), evidence_of(self.config.split_rule)
        evidence: dict[str, Any] = {}
        if name == "logits":
            images, seed = self.data.train, self.config.seed
            evidence[name] = sample_logits(self.flow, images, undivided, seed)
        elif name is not None:
            evidence[name] = load_contributions(self.workdir.evidence(name))
        return decide_factorization(
            self.config.split_rule,
            image_shape=self.flow.image_shape,
            num_scales=self.flow.num_scales,
            rotations=undivided.rotations,
            whitening=undivided.whitening,
            seed=self.config.seed,
            **evidence,
        )
