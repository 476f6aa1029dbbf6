"""The split rules: from a scale's contributions to which half of its dimensions goes on.

Each is one small function of (contribution, shape, rng), a `SplitRule` that says what it needs, and one
line in the table `lcma_tf.choices.RULES`. NumPy only. A new rule needs nothing else: flags, validation,
tests and pictures run over the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from lcma_tf.factorization.masks import checkerboard
from lcma_tf.factorization.order import blocks

__all__ = ["LCMA", "LCMA_REVERSED", "NONE", "RANDOM", "REALNVP", "SplitRule"]


@dataclasses.dataclass(frozen=True)
class SplitRule:
    """A rule, and what it needs. Entries of `lcma_tf.choices.RULES`.

    Args:
        help: a line for `--help`.
        decide: (contribution or None, shape, rng) -> bool mask of that shape `(h, w, c)`, half of it
            True (= goes on), for one scale after the other; None = nothing exits, there are no masks.
        reads_contributions: whether `decide` is given the scale's contribution, float `[h, w, c]`, so
            that a flow without splits has to be pretrained before.

    Example:
        ```python
        import lcma_tf
        from lcma_tf.choices import RULES
        from lcma_tf.factorization import SplitRule
        from lcma_tf.factorization.masks import checkerboard

        RULES["other_diagonal"] = SplitRule(
            "the other diagonal goes on", lambda contribution, shape, rng: checkerboard(shape, False)
        )
        lcma_tf.decide_factorization("other_diagonal", image_shape=(4, 4, 1), num_scales=2)
        del RULES["other_diagonal"]
        ```
    """

    help: str
    decide: Callable[[np.ndarray | None, tuple[int, ...], np.random.Generator], np.ndarray] | None
    reads_contributions: bool = False


def _two_highest_of_each_block(score: np.ndarray) -> np.ndarray:
    """True for the two highest of each 2x2 block and channel; ties go to the earlier in raster order."""
    height, width, channels = score.shape
    in_blocks = blocks(score)
    order = np.argsort(-in_blocks, axis=-1, kind="stable")
    kept = np.zeros(in_blocks.shape, bool)
    np.put_along_axis(kept, order[..., :2], True, axis=-1)
    kept = kept.reshape(height // 2, width // 2, channels, 2, 2)
    return kept.transpose(0, 3, 1, 4, 2).reshape(height, width, channels)


def _lcma(contribution, shape, rng):
    """High contributors go on, low ones exit: the paper's rule (max- and min-pooling, Figure 1)."""
    return _two_highest_of_each_block(contribution)


def _lcma_reversed(contribution, shape, rng):
    """High contributors exit: the paper's second ablation."""
    return _two_highest_of_each_block(-contribution)


def _random(contribution, shape, rng):
    """Half of all dimensions, with no regard to place: the paper's fixed random permutation."""
    kept = np.zeros(int(np.prod(shape)), bool)
    kept[rng.permutation(kept.size)[: kept.size // 2]] = True
    return kept.reshape(shape)


def _realnvp(contribution, shape, rng):
    """The diagonal (0,0), (1,1) of each 2x2 block goes on: the static rule of Dinh et al. 2016."""
    return checkerboard(shape, keep_even=True)


LCMA = SplitRule("high contributors go on, low ones exit: the paper's", _lcma, True)
LCMA_REVERSED = SplitRule("high contributors exit: an ablation", _lcma_reversed, True)
RANDOM = SplitRule("a half drawn at random", _random)
REALNVP = SplitRule("the diagonal of each 2x2 block goes on, whatever the data", _realnvp)
NONE = SplitRule("nothing exits", None)
