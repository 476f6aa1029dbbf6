"""What is built and timed: the configuration, and the convolutions that it consists of.

Plain Python: the parent process and every contender read it, whatever framework they use.
"""

from __future__ import annotations

import dataclasses

__all__ = [
    "DEVICES",
    "GLOW_LEVELS",
    "BenchmarkConfig",
    "Convolution",
    "conditioners",
    "conv_flops",
    "glow_steps",
    "glow_width",
]

DEVICES = ("cpu", "cuda")
GLOW_LEVELS = 3


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """A RealNVP and how it is run. The default is the CIFAR-10 configuration of the paper.

    Args:
        image_size: side of the square images of 3 channels.
        num_scales, base_dim, num_residual_blocks: as `lcma_tf.FlowConfig`.
        threads: of every library that has a number of threads.
        device: `cpu` or `cuda`, for every contender.
    """

    image_size: int = 32
    num_scales: int = 2
    base_dim: int = 64
    num_residual_blocks: int = 8
    threads: int = 2
    device: str = "cpu"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`."""
        return (self.image_size, self.image_size, 3)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution over a square map, stride 1, padded to the same size."""

    size: int
    kernel: int
    inputs: int
    outputs: int

    @property
    def flops(self) -> int:
        """Of one image forward; a multiplication and an addition are two."""
        return 2 * self.size**2 * self.kernel**2 * self.inputs * self.outputs


@dataclasses.dataclass(frozen=True)
class ConditionerConvolutions:
    """The convolutions of one conditioner, in the order in which they run."""

    first: Convolution
    block: Convolution  # Twice in each residual block.
    skip: Convolution  # After the first and after every block.
    last: Convolution
    num_blocks: int

    @property
    def flops(self) -> int:
        blocks = 2 * self.num_blocks * self.block.flops
        skips = (self.num_blocks + 1) * self.skip.flops
        return self.first.flops + blocks + skips + self.last.flops


def conditioners(config: BenchmarkConfig) -> list[ConditionerConvolutions]:
    """The conditioners of the RealNVP, data to latents."""
    found = []
    size, channels, width = config.image_size, 3, config.base_dim
    for level in range(config.num_scales):
        is_last = level == config.num_scales - 1
        found += [_conditioner(config, size, 2 * channels + 1, channels, width)] * (3 + is_last)
        if not is_last:
            squeezed = _conditioner(config, size // 2, 4 * channels, 2 * channels, 2 * width)
            found += [squeezed] * 3
            size, channels, width = size // 2, 2 * channels, 2 * width
    return found


def _conditioner(config, size, inputs, outputs, width):
    return ConditionerConvolutions(
        first=Convolution(size, 3, inputs, width),
        block=Convolution(size, 3, width, width),
        skip=Convolution(size, 1, width, width),
        last=Convolution(size, 1, width, 2 * outputs),
        num_blocks=config.num_residual_blocks,
    )


def conv_flops(config: BenchmarkConfig) -> int:
    """Of one image through the RealNVP, forward."""
    return sum(conditioner.flops for conditioner in conditioners(config))


def glow_width(config: BenchmarkConfig) -> int:
    """Channels inside the networks of a Glow: 768 for the CIFAR-10 configuration (25 steps a level)."""
    return 12 * config.base_dim


def glow_steps(config: BenchmarkConfig) -> int:
    """How many steps of flow a level give a Glow the convolution FLOPs of the RealNVP, about.

    A step's network: 3x3 to `glow_width` channels, 1x1, 3x3 to shift and scale; half of the channels
    condition the others.
    """
    one_step, size, channels, hidden = 0, config.image_size, 3, glow_width(config)
    for _ in range(GLOW_LEVELS):
        size, channels = size // 2, 4 * channels
        one_step += sum(
            convolution.flops
            for convolution in (
                Convolution(size, 3, channels // 2, hidden),
                Convolution(size, 1, hidden, hidden),
                Convolution(size, 3, hidden, channels),
            )
        )
        channels //= 2  # Half of the channels leave.
    return max(1, round(conv_flops(config) / one_step))
