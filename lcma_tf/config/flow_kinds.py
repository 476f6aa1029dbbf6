"""What a config must know of each kind of flow before anything is built: plain Python, no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from lcma_tf.config.checks import require

__all__ = ["GLOW", "REALNVP", "FlowKind"]


@dataclasses.dataclass(frozen=True)
class FlowKind:
    """An entry of `lcma_tf.choices.FLOW_KINDS`.

    Args:
        own_fields: fields of `FlowConfig` that this flow reads and that not all flows do.
        check_scales: `(image_shape, num_scales) -> None`, raises `ConfigError` at images that the flow
            cannot take, in one sentence; that they can be halved at each split was checked before.
    """

    own_fields: tuple[str, ...]
    check_scales: Callable[[tuple[int, ...], int], None]


def _both_colours(image_shape: tuple[int, ...], num_scales: int) -> None:
    height, width, _ = image_shape
    divisor = 2 ** (num_scales - 1)
    require(
        (height // divisor) * (width // divisor) >= 2,
        "num_scales",
        "small enough to leave at least two pixels at the last scale (a checkerboard needs both "
        "colours)",
        f"num_scales={num_scales} for image_shape={image_shape}",
    )


def _squeezed_to_the_last(image_shape: tuple[int, ...], num_scales: int) -> None:
    height, width, _ = image_shape
    divisor = 2**num_scales
    require(
        height % divisor == 0 and width % divisor == 0,
        "num_scales",
        "such that height and width of the images are divisible by 2**num_scales (flow 'glow' "
        "squeezes the last scale, too)",
        f"num_scales={num_scales} for image_shape={image_shape}",
    )


REALNVP = FlowKind(
    (
        "num_couplings",
        "num_residual_blocks",
        "level_blocks",
        "batch_norm_moments",
        "coupling_masks",
        "weight_scale_l2",
    ),
    _both_colours,
)
GLOW = FlowKind(("num_steps_per_scale",), _squeezed_to_the_last)
