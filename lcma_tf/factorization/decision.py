"""From a rule and contributions to a `Factorization`.

A rule of `rules.py` is applied recursively, each scale seeing only what the scales before let through
(equation 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lcma_tf.choices import RULES
from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.factorization.factorization import CUSTOM, Factorization
from lcma_tf.factorization.order import gather_kept
from lcma_tf.factorization.rules import SplitRule

__all__ = ["decide_factorization", "needs_contributions"]


def needs_contributions(rule: str) -> bool:
    """Whether `rule` is decided by data, so that a pretraining run is needed first."""
    return _found(rule).reads_contributions


def decide_factorization(
    rule: str,
    *,
    image_shape: Sequence[int],
    num_scales: int,
    contributions: Sequence[np.ndarray] | Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> Factorization:
    """Decides, scale by scale, which dimensions go on (Das et al. 2019, section 3).

    Args:
        rule: one of `SPLIT_RULES`, the names of the table `lcma_tf.choices.RULES`.
        image_shape: `(H, W, C)`; H and W divisible by `2**(num_scales - 1)`.
        num_scales: number of flow layers K; there are K - 1 splits.
        contributions: for every flow layer the mean accumulated log-det terms (equation 9) of the
            pretrained flow, float `[H, W, C]` in the data's coordinates: a sequence, or a mapping with
            keys `layer_1`, `layer_2`, ... At least K - 1 of them; needed by `lcma`, `lcma_reversed`
            and what else reads them (`needs_contributions`).
        seed: decides rule `random`; the others do not read it.

    Returns:
        A `Factorization` with K - 1 masks, or none for rule `none`.

    Raises:
        FactorizationError: an argument breaks a rule above, or a contribution is not finite.
    """
    found = _found(rule)
    shape = tuple(int(size) for size in image_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise FactorizationError(
            f"`image_shape` must be (H, W, C), all positive; got {image_shape}."
        )
    divisor = 2 ** (num_scales - 1) if num_scales >= 1 else 0
    if num_scales < 1 or shape[0] % divisor or shape[1] % divisor:
        raise FactorizationError(
            "`image_shape` must have height and width divisible by 2**(num_scales - 1), and "
            f"num_scales be at least 1; got image_shape={shape}, num_scales={num_scales}."
        )
    if seed < 0:
        raise FactorizationError(f"`seed` must be at least 0; got {seed}.")
    layers = None
    if found.reads_contributions:
        layers = _checked_contributions(contributions, shape, num_scales, rule)

    decided: list[np.ndarray] = []
    for scale in range(num_scales - 1):
        if found.decide is None:
            break
        contribution = None
        if layers is not None:
            contribution = layers[scale]
            for mask in decided:
                contribution = gather_kept(contribution, mask)
        height, width, channels = shape[0] >> scale, shape[1] >> scale, shape[2] << scale
        rng = np.random.default_rng([seed, scale])
        decided.append(found.decide(contribution, (height, width, channels), rng))
    return Factorization(rule, shape, tuple(decided), seed)


def _found(rule: str) -> SplitRule:
    if rule in RULES:
        return RULES[rule]
    if rule == CUSTOM:
        raise FactorizationError(
            "`split_rule` must be one that decides; got 'custom', the label of masks that are given: "
            "Factorization(rule='custom', image_shape=..., masks=...), saved, is taken by "
            "`factorization_path`."
        )
    raise FactorizationError(f"`split_rule` must be one of {', '.join(RULES)}; got {rule!r}.")


def _checked_contributions(contributions, shape, num_scales, rule) -> list[np.ndarray]:
    if contributions is None:
        raise FactorizationError(f"Rule {rule!r} is decided by `contributions`; got None.")
    needed = num_scales - 1
    if isinstance(contributions, Mapping):
        names = [f"layer_{layer}" for layer in range(1, num_scales)]
        missing = [name for name in names if name not in contributions]
        if missing:
            raise FactorizationError(
                f"`contributions` must hold {', '.join(names)}; got {sorted(contributions)}."
            )
        contributions = [contributions[name] for name in names]
    layers = [np.asarray(layer) for layer in contributions]
    if len(layers) < needed:
        raise FactorizationError(
            f"`contributions` must have at least num_scales - 1 = {needed} layers; got {len(layers)}."
        )
    for index, layer in enumerate(layers[:needed], start=1):
        if layer.shape != shape or not np.issubdtype(layer.dtype, np.floating):
            raise FactorizationError(
                f"`contributions` layer {index} must be float of shape {shape}; "
                f"got {layer.dtype} {layer.shape}."
            )
        if not np.isfinite(layer).all():
            raise FactorizationError(
                f"`contributions` layer {index} must be finite; "
                f"got {np.count_nonzero(~np.isfinite(layer))} entries that are not."
            )
    return layers
