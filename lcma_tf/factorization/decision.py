"""From a rule and its evidence to a `Factorization`.

A rule of `rules.py` is applied recursively, each scale seeing only what the scales before let through
(equation 6).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from lcma_tf.choices import RULES
from lcma_tf.factorization.checks import (
    check_integer,
    check_seed,
    checked_image_shape,
    checked_mask,
)
from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.factorization.evidence import Layers, checked_evidence
from lcma_tf.factorization.factorization import CUSTOM, Factorization
from lcma_tf.factorization.order import gather_kept
from lcma_tf.factorization.rules import SplitRule
from lcma_tf.factorization.whitening import Whitening

__all__ = ["decide_factorization", "evidence_of", "needs_pretraining"]


def evidence_of(rule: str) -> str | None:
    """What `rule` is decided by: a name of `lcma_tf.factorization.rules.EVIDENCE`; None = nothing.

    Raises:
        FactorizationError: there is no such rule.
    """
    return _found(rule).evidence


def needs_pretraining(rule: str) -> bool:
    """Whether a flow without splits is pretrained before `rule` decides.

    Raises:
        FactorizationError: there is no such rule.
    """
    return _found(rule).needs_pretraining


def decide_factorization(
    rule: str,
    *,
    image_shape: Sequence[int],
    num_scales: int,
    contributions: Layers | None = None,
    gain: Layers | None = None,
    logits: np.ndarray | None = None,
    rotations: Sequence[np.ndarray | None] = (),
    whitening: Whitening | None = None,
    seed: int = 0,
) -> Factorization:
    """Decides, scale by scale, which dimensions go on (Das et al. 2019, section 3).

    Of the evidence each rule reads one kind or none (`SplitRule`), and only that one is needed.

    Args:
        rule: one of `SPLIT_RULES`, the names of the table `lcma_tf.choices.RULES`.
        image_shape: `(H, W, C)`; H and W divisible by `2**(num_scales - 1)`.
        num_scales: number of flow layers K; there are K - 1 splits.
        contributions: for every flow layer the mean accumulated log-det terms (equation 9) of the
            pretrained flow, float `[H, W, C]` in the data's coordinates: a sequence, or a mapping with
            keys `layer_1`, `layer_2`, ... At least K - 1 of them.
        gain: likewise, what the mean log-density of every dimension gains after the layer, nats.
        logits: training images as they enter the flow, turned by the first of `rotations` and whitened
            by `whitening`, float `[n, H, W, C]`.
        rotations: of the channels that enter the scales; they become part of the factorization.
        whitening: of the images before the first scale; it becomes part of it, too.
        seed: decides rule `random`; the others do not read it.

    Returns:
        A `Factorization` with K - 1 masks, or none for rule `none`.

    Raises:
        FactorizationError: an argument breaks a rule above, the rule's evidence is missing, or it is not
            finite, or the rule decides a mask that is not half True.
    """
    found = _found(rule)
    shape = checked_image_shape(image_shape)
    check_integer("num_scales", num_scales)
    divisor = 2 ** (num_scales - 1) if num_scales >= 1 else 0
    if num_scales < 1 or shape[0] % divisor or shape[1] % divisor:
        raise FactorizationError(
            "`image_shape` must have height and width divisible by 2**(num_scales - 1), and "
            f"num_scales be at least 1; got image_shape={shape}, num_scales={num_scales}."
        )
    check_seed(seed)
    given = {"contributions": contributions, "gain": gain, "logits": logits}
    layers: Sequence[np.ndarray | None] = [None] * (num_scales - 1)
    if found.evidence is not None:
        layers = checked_evidence(found.evidence, given[found.evidence], shape, num_scales, rule)

    decided: list[np.ndarray] = []
    for scale, evidence in enumerate(layers):
        if found.decide is None:
            break
        if evidence is not None:
            evidence = functools.reduce(gather_kept, decided, evidence)
        height, width, channels = shape[0] >> scale, shape[1] >> scale, shape[2] << scale
        rng = np.random.default_rng([seed, scale])
        mask = found.decide(evidence, (height, width, channels), rng)
        what = f"mask_{scale + 1}, as rule {rule!r} decides it,"
        decided.append(checked_mask(what, mask, (height, width, channels)))
    return Factorization(rule, shape, tuple(decided), seed, rotations, whitening)


def _found(rule: str) -> SplitRule:
    if rule in RULES:
        found = RULES[rule]
        if not isinstance(found, SplitRule):
            kind = type(found).__name__
            raise FactorizationError(f"Rule {rule!r} must be a SplitRule; its entry is a {kind}.")
        return found
    if rule == CUSTOM:
        raise FactorizationError(
            "`split_rule` must be one that decides; got 'custom', the label of masks that are given: "
            "Factorization(rule='custom', image_shape=..., masks=...), saved, is taken by "
            "`factorization_path`."
        )
    raise FactorizationError(f"`split_rule` must be one of {', '.join(RULES)}; got {rule!r}.")
