"""The multi-scale Glow of `normflows`, put together as in that package's own image example.

Three levels; as many steps a level as give the convolution FLOPs of the RealNVP, about.
"""

from __future__ import annotations

import normflows as nf
import numpy as np
import torch

from benchmarks.architecture import GLOW_LEVELS, BenchmarkConfig, glow_steps, glow_width
from benchmarks.contenders.torch_process import (
    as_tensor,
    count_conv_flops,
    count_parameters,
    optimizer_step,
    prepare,
)

__all__ = ["bits_per_dim", "build", "multi_scale_glow", "nats"]


def build(config: BenchmarkConfig, variant: str = "") -> NormflowsGlow:
    del variant
    return NormflowsGlow(config, prepare(config))


def multi_scale_glow(
    channels: int, size: int, num_levels: int, num_steps: int, width: int
) -> nf.MultiscaleFlow:
    """A Glow over square images with values in (0, 1), float32 `[N, C, H, W]`.

    Args:
        channels, size: of an image.
        num_levels: after each but the last half of the channels leave.
        num_steps: of flow, a level.
        width: channels inside the networks.
    """
    bases, merges, flows = [], [], []
    for i in range(num_levels):  # From the last exit to the first.
        level_channels = channels * 2 ** (num_levels + 1 - i)
        steps = [
            nf.flows.GlowBlock(level_channels, width, split_mode="channel", scale=True)
            for _ in range(num_steps)
        ]
        flows.append([*steps, nf.flows.Squeeze()])
        side = size // 2 ** (num_levels - i)
        if i > 0:
            merges.append(nf.flows.Merge())
            shape = (level_channels // 2, side, side)
        else:
            shape = (level_channels, side, side)
        bases.append(nf.distributions.GlowBase(shape))
    return nf.MultiscaleFlow(
        bases, flows, merges, transform=nf.transforms.Logit(0.05), class_cond=False
    )


@torch.no_grad()
def bits_per_dim(
    flow: nf.MultiscaleFlow, images: torch.Tensor, batch_size: int = 100
) -> np.ndarray:
    """Of uint8 images `[N, C, H, W]`, `[N]`: one draw of noise for each, inference mode."""
    flow.eval()
    densities = [nats(flow, batch) for batch in images.split(batch_size)]
    # The density is that of pixels in (0, 1): 8 bits/dim less than that of 0..255.
    return 8 - torch.cat(densities).numpy() / (images[0].numel() * np.log(2))


def nats(flow: nf.MultiscaleFlow, images: torch.Tensor) -> torch.Tensor:
    """Densities of uint8 images `[N, C, H, W]` with noise, as pixels in (0, 1): `[N]`."""
    pixels = (images.float() + torch.rand(images.shape, device=images.device)) / 256
    return flow.log_prob(pixels, None)


class NormflowsGlow:
    """See `benchmarks.contenders.Contender`."""

    def __init__(self, config: BenchmarkConfig, device: torch.device):
        size = config.image_size
        self.flow = multi_scale_glow(
            3, size, GLOW_LEVELS, glow_steps(config), glow_width(config)
        ).to(device)
        self.device = device
        self._shape = (size, size)
        self.num_parameters = count_parameters(self.flow)
        self._initialized = False

    def training_step(self, images: np.ndarray):
        self.flow.train()
        self._initialized = True
        there = as_tensor(images, self.device)
        return optimizer_step(self.flow, lambda x: -nats(self.flow, x).mean(), there)

    @torch.no_grad()
    def log_prob(self, images: np.ndarray) -> np.ndarray:
        self._evaluate()
        return nats(self.flow, as_tensor(images, self.device)).cpu().numpy()

    @torch.no_grad()
    def sample(self, n: int) -> np.ndarray:
        self._evaluate()
        pixels = 256 * self.flow.sample(n)[0]
        return pixels.floor().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def conv_flops(self) -> int:
        self._evaluate()
        x = torch.zeros(1, 3, *self._shape, dtype=torch.uint8, device=self.device)
        with torch.no_grad():
            return count_conv_flops(lambda: nats(self.flow, x))

    def num_training_ops(self) -> int | None:
        return None

    def _evaluate(self):
        if not self._initialized:  # Actnorm takes its first values from the first batch.
            self._initialized = True
            shape = (8, 3, *self._shape)
            nats(self.flow, torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device))
        self.flow.eval()
