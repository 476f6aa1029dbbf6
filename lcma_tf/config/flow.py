"""What a flow is."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

from lcma_tf.choices import COUPLINGS, FLOW_KINDS, FLOWS, PIXEL_TRANSFORMS
from lcma_tf.config.checks import (
    is_finite,
    require,
    require_ints,
    require_seed,
    set_level_ints,
    set_shape,
)
from lcma_tf.config.options import OptionConfig, option

__all__ = ["FlowConfig"]

_MAX_BASE_DIM = 1_024  # Twice the widest of published flows, and is doubled at each level.


@dataclasses.dataclass(frozen=True)
class FlowConfig(OptionConfig):
    """What a flow is: enough, with a `Factorization`, to build it.

    The defaults are the CIFAR-10 architecture of the paper, with two choices of our own that
    docs/paper.md explains: `pixel_transform` and `batch_norm_moments`.

    Args:
        image_shape: `(H, W, C)`; H and W divisible by `2**(num_scales - 1)`, for `glow` by
            `2**num_scales`.
        flow: the kind of flow, a name of `lcma_tf.choices.FLOWS`: `realnvp` or `glow`.
        num_scales: number of flow layers K, the last included; K - 1 splits.
        base_dim: width of the first level's conditioners; doubled at each level, and again in the
            channel couplings (Dinh et al. 2016). In `glow` the width at all levels. At most 1,024.
        num_residual_blocks: of every conditioner of `realnvp`; `glow` does not read it.
        num_steps_per_scale: steps of act norm, 1x1 convolution and coupling in each flow layer of
            `glow` (the depth K of Kingma & Dhariwal 2018, there 32); `realnvp` does not read it.
        level_widths: widths of the conditioners of each level, the data's first, in place of `base_dim`
            doubled at each; the channel couplings have twice of theirs as ever. None = by `base_dim`.
        level_blocks: residual blocks of the conditioners of each level of `realnvp`; None =
            `num_residual_blocks` in all.
        alpha: logit bound of the pixel transform, in (0, 0.5).
        pixel_transform: `two_sided`, `logit(alpha + (1 - 2 alpha) y / 256)`, or `one_sided`,
            `logit(alpha + (1 - alpha) y / 256)`, or another of `lcma_tf.choices.PIXEL_TRANSFORMS`.
        batch_norm_moments: moments of the in-flow batch norm over the `changed` half, or over `all`
            positions with zeros at the unchanged ones, as the RealNVP program does; `glow`, which has
            no batch norm, does not read it.
        coupling_masks: what the checkerboard couplings of a RealNVP keep: a `checkerboard`, the first
            one where i + j is even; `swapped`, the first one where it is odd; `aligned`: in a level from
            which dimensions exit the first and the third change exactly these, the second what stays,
            by the mask of the split, whatever rule made it (elsewhere a checkerboard). `glow` has
            none, and takes no other value than the default.
        exit_prior: what dimensions that exit are coded by: `standard`, N(0, 1), or a normal whose
            mean and deviation are read off what stays, by one small convolution (`conditional`) or by a
            residual network like those of the level's couplings (`residual`).
        weight_scale_l2: coefficient of the sum of squares of the weight-norm magnitudes and of the
            checkerboard couplings' scales, added to nats per image; `glow` does not read it.
        mixed_precision: training computes convolutions and feature maps inside the conditioners in
            bfloat16, with float32 weights; densities, shifts and scales stay float32. Scores, samples
            and latents are float32 throughout: `decode(encode(x))` is x.
        real_valued: pixels are real numbers in [0, 255], as a resampler makes them, instead of uint8.
            Scores are then log-densities of x + u, which bound no log-probability of 8-bit images.
        original_shape: `(h, w, C)` of the picture inside images that were padded with zeros: bits/dim
            are those of its dimensions; None = the whole image.
        seed: initial weights and training noise.
        num_couplings: in each level over pixels, and as many over channels; the last level has one more
            over pixels, and none over channels.
        dequantization: how the noise below the integers of pixels is drawn: `uniform`, or `variational`,
            by a small network that sees the image, trained with the flow
            (`lcma_tf.bijectors.VariationalDequantization`); not for `real_valued` pixels.
        coupling: how a coupling maps what it changes: `affine`, or `spline`, an affine map and then a
            rational-quadratic spline, or another of `lcma_tf.choices.COUPLINGS`.

    Raises:
        ConfigError: a field breaks its rule.

    Example:
        ```python
        import lcma_tf

        config = lcma_tf.FlowConfig(image_shape=(28, 28, 1), num_scales=2, base_dim=16)
        assert config.num_dimensions == 784
        assert lcma_tf.FlowConfig.from_dict(config.to_dict()) == config
        ```
    """

    image_shape: tuple[int, ...] = (32, 32, 3)
    flow: str = option("realnvp", "kind of flow", FLOWS)
    num_scales: int = option(2, "number of flow layers K, the last included; K - 1 splits")
    base_dim: int = option(
        64, "width of the first level's conditioners, doubled at each level; glow: of all"
    )
    num_residual_blocks: int = option(8, "realnvp: residual blocks of every conditioner")
    alpha: float = option(0.05, "logit bound of the pixel transform")
    pixel_transform: str = option(
        "two_sided",
        "keep pixels away from both ends of the logit or from one",
        PIXEL_TRANSFORMS,
    )
    batch_norm_moments: str = option(
        "changed",
        "realnvp: in-flow batch norm over the changed half or over all positions",
        ("changed", "all"),
    )
    weight_scale_l2: float = option(
        5e-5, "realnvp: L2 coefficient on the weight-norm magnitudes, in nats per image"
    )
    mixed_precision: bool = option(
        False, "train with bfloat16 inside the conditioners; all else stays float32"
    )
    real_valued: bool = False
    original_shape: tuple[int, ...] | None = None
    seed: int = option(0, "initial weights and training noise")
    num_steps_per_scale: int = option(8, "glow: steps of each flow layer")
    num_couplings: int = option(
        3,
        "realnvp: couplings of a level over pixels, and as many over channels; the last one more",
    )
    level_widths: tuple[int, ...] | None = option(
        None, "width of each level's conditioners, as 16,16,16; default: what base_dim says"
    )
    level_blocks: tuple[int, ...] | None = option(
        None,
        "realnvp: residual blocks of each level's conditioners, as 2,2,8; default: num_residual_blocks",
    )
    coupling_masks: str = option(
        "checkerboard",
        "realnvp: masks of its checkerboards: the paper's, of swapped parity, or the split's own",
        ("checkerboard", "aligned", "swapped"),
    )
    exit_prior: str = option(
        "standard",
        "what exits is coded by N(0, 1), or by a normal that depends on what stays, if anything exits",
        ("standard", "conditional", "residual"),
    )
    coupling: str = option(
        "affine", "what a coupling does: an affine map, or that and a monotone spline", COUPLINGS
    )

    dequantization: str = option(
        "uniform",
        "noise below the integers of pixels: uniform, or drawn by a small network that sees the image",
        ("uniform", "variational"),
    )

    def __post_init__(self):
        super().__post_init__()
        set_shape(self, "image_shape")
        if self.original_shape is not None:
            set_shape(self, "original_shape")
            inside = all(map(operator.le, self.original_shape, self.image_shape))
            rule = f"within image_shape={self.image_shape}"
            require(inside, "original_shape", rule, self.original_shape)
        require_ints(
            self,
            1,
            "num_scales",
            "num_couplings",
            "base_dim",
            "num_residual_blocks",
            "num_steps_per_scale",
        )
        most = f"at most {_MAX_BASE_DIM}"
        require(self.base_dim <= _MAX_BASE_DIM, "base_dim", most, self.base_dim)
        set_level_ints(self, "level_widths", _MAX_BASE_DIM)
        set_level_ints(self, "level_blocks", _MAX_BASE_DIM)
        require_seed(self)
        self._check_choices()
        self._check_scales()
        self._check_not_read()
        require(is_finite(self.alpha) and 0 < self.alpha < 0.5, "alpha", "in (0, 0.5)", self.alpha)
        require(
            is_finite(self.weight_scale_l2) and self.weight_scale_l2 >= 0,
            "weight_scale_l2",
            "a finite number >= 0",
            self.weight_scale_l2,
        )
        rule = "'uniform' where pixels are real numbers (real_valued)"
        has_bins = self.dequantization == "uniform" or not self.real_valued
        require(has_bins, "dequantization", rule, self.dequantization)

    def _check_scales(self) -> None:
        divisor = 2 ** (self.num_scales - 1)
        height, width, _ = self.image_shape
        require(
            height % divisor == 0 and width % divisor == 0,
            "num_scales",
            "such that height and width of the images are divisible by 2**(num_scales - 1)",
            f"num_scales={self.num_scales} for image_shape={self.image_shape}",
        )
        if self.flow in FLOW_KINDS:
            FLOW_KINDS[self.flow].check_scales(self.image_shape, self.num_scales)

    def _check_not_read(self) -> None:
        """Refuses what says how levels are built where this kind of flow would silently build others."""
        read = self.own_fields()
        for name, usual in (("coupling_masks", "checkerboard"), ("level_blocks", None)):
            value = getattr(self, name)
            rule = f"left at {usual!r} with flow={self.flow!r}, which does not read it"
            require(name in read or value == usual, name, rule, value)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels inside the conditioners of each level; those of channel couplings have twice."""
        return self.level_widths or tuple(self.base_dim * 2**i for i in range(self.num_scales))

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual blocks of the conditioners of each level."""
        return self.level_blocks or (self.num_residual_blocks,) * self.num_scales

    @property
    def num_dimensions(self) -> int:
        """H * W * C without padding: what bits/dim divides by."""
        return math.prod(self.original_shape or self.image_shape)

    def own_fields(self) -> dict[str, Any]:
        """The fields that this kind of flow reads and that not all kinds do, by name."""
        kinds = [self.flow] if self.flow in FLOW_KINDS else [*FLOW_KINDS]
        names = [name for kind in kinds for name in FLOW_KINDS[kind].own_fields]
        return {name: getattr(self, name) for name in names}
