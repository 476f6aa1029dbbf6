"""The split rules: from what is known of a scale to which half of its dimensions goes on.

Each is one small function of (evidence, shape, rng), a `SplitRule` that says which evidence it reads,
and one line in the table `lcma_tf.choices.RULES`. NumPy only. A new rule needs nothing else: flags,
validation, tests and pictures run over the table. Those that read covariances are in `dependence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from lcma_tf.factorization.masks import checkerboard
from lcma_tf.factorization.order import blocks, from_blocks

__all__ = [
    "EVIDENCE",
    "GAIN",
    "LCMA",
    "LCMA_BLOCK",
    "LCMA_NULL",
    "LCMA_REVERSED",
    "NONE",
    "RANDOM",
    "REALNVP",
    "SplitRule",
]

# What a rule may read of a scale, and whether a flow without splits is pretrained to know it.
EVIDENCE = {
    "contributions": True,  # [h, w, c]: log-det terms accumulated up to the scale, equation 9.
    "gain": True,  # [h, w, c]: what the density of a dimension gains by all later scales.
    "logits": False,  # [n, h, w, c]: some training images, as they enter the flow.
}


@dataclasses.dataclass(frozen=True)
class SplitRule:
    """A rule, and what it needs. Entries of `lcma_tf.choices.RULES`.

    Args:
        help: a line for `--help`.
        decide: (evidence or None, shape, rng) -> bool mask of that shape `(h, w, c)`, half of it True
            (= goes on), for one scale after the other; None = nothing exits, there are no masks.
        evidence: what `decide` is given, in the coordinates of what is still in the flow at the scale:

            - None: nothing.
            - `contributions`: float `[h, w, c]`, nats: the mean log-det terms of a pretrained flow,
              accumulated up to the scale (Das et al. 2019, equation 9).
            - `gain`: float `[h, w, c]`, nats: by how much the mean log-density of a dimension grows in
              the later scales of that flow: their log-det terms, and what the dimension comes nearer to
              the middle of a standard normal.
            - `logits`: float `[n, h, w, c]`: training images, dequantized, behind the pixel transform
              and the rotation of the channels. No flow is trained for them.

    Raises:
        ValueError: `evidence` is none of these, or `decide` no function.

    Example:
        ```python
        import lcma_tf
        from lcma_tf.choices import RULES
        from lcma_tf.factorization import SplitRule
        from lcma_tf.factorization.masks import checkerboard

        RULES["other_diagonal"] = SplitRule(
            "the other diagonal goes on", lambda evidence, shape, rng: checkerboard(shape, False)
        )
        lcma_tf.decide_factorization("other_diagonal", image_shape=(4, 4, 1), num_scales=2)
        del RULES["other_diagonal"]
        ```
    """

    help: str
    decide: Callable[[np.ndarray | None, tuple[int, ...], np.random.Generator], np.ndarray] | None
    evidence: str | None = None

    def __post_init__(self):
        if self.evidence is not None and self.evidence not in EVIDENCE:
            raise ValueError(
                f"`evidence` must be None or one of {', '.join(EVIDENCE)}; got {self.evidence!r}."
            )

        if self.decide is not None and not callable(self.decide):
            raise ValueError(f"`decide` must be a function or None; got {self.decide!r}.")

    @property
    def needs_pretraining(self) -> bool:
        """Whether a flow without splits is pretrained before the rule can decide."""
        return self.evidence is not None and EVIDENCE[self.evidence]


def _highest_half(score: np.ndarray) -> np.ndarray:
    """True for the higher half along the last axis; ties go to the earlier entry."""
    order = np.argsort(-score, axis=-1, kind="stable")
    kept = np.zeros(score.shape, bool)
    np.put_along_axis(kept, order[..., : score.shape[-1] // 2], True, axis=-1)
    return kept


def _lcma(contribution, shape, rng):
    """High contributors go on, low ones exit: the paper's rule (max- and min-pooling, Figure 1)."""
    return from_blocks(_highest_half(blocks(contribution)))


def _lcma_reversed(contribution, shape, rng):
    """High contributors exit: the paper's second ablation."""
    return from_blocks(_highest_half(blocks(-contribution)))


def _lcma_null(contribution, shape, rng):
    """The paper's rule on what is left of a contribution without the mean of its channel and corner.

    Checkerboard couplings change the corners of a block unequally often: what all blocks have in common
    says how the flow is built, not what the data are.
    """
    in_blocks = blocks(contribution)
    return from_blocks(_highest_half(in_blocks - in_blocks.mean(axis=(0, 1), keepdims=True)))


def _lcma_block(contribution, shape, rng):
    """The higher half of all 4c dimensions of a 2x2 block, whatever their channel."""
    in_blocks = blocks(contribution)
    flat = in_blocks.reshape(*in_blocks.shape[:2], -1)
    return from_blocks(_highest_half(flat).reshape(in_blocks.shape))


def _gain(gain, shape, rng):
    """Of each channel the two corners that gain most on average go on: one pattern for all blocks.

    The gain of a single dimension mostly tells which couplings reach it.
    """
    in_blocks = blocks(gain)
    corners = in_blocks.mean(axis=(0, 1), keepdims=True)
    return from_blocks(np.broadcast_to(_highest_half(corners), in_blocks.shape))


def _random(evidence, shape, rng):
    """Half of all dimensions, with no regard to place: the paper's fixed random permutation."""
    kept = np.zeros(int(np.prod(shape)), bool)
    kept[rng.permutation(kept.size)[: kept.size // 2]] = True
    return kept.reshape(shape)


def _realnvp(evidence, shape, rng):
    """The diagonal (0,0), (1,1) of each 2x2 block goes on: the static rule of Dinh et al. 2016."""
    return checkerboard(shape, keep_even=True)


_TERMS = "contributions"
LCMA = SplitRule("high contributors go on, low ones exit: the paper's", _lcma, _TERMS)
LCMA_REVERSED = SplitRule("high contributors exit: an ablation", _lcma_reversed, _TERMS)
LCMA_NULL = SplitRule(
    "as lcma, without what all blocks have in common: an ablation", _lcma_null, _TERMS
)
LCMA_BLOCK = SplitRule("as lcma, over all channels of a 2x2 block at once", _lcma_block, _TERMS)
GAIN = SplitRule("of each channel the two corners that later scales gain most by", _gain, "gain")
RANDOM = SplitRule("a half drawn at random", _random)
REALNVP = SplitRule("the diagonal of each 2x2 block goes on, whatever the data", _realnvp)
NONE = SplitRule("nothing exits", None)
