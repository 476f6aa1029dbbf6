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

__all__ = ["build"]


def build(config: BenchmarkConfig, variant: str = "") -> NormflowsGlow:
    del variant
    return NormflowsGlow(config, prepare(config))


class NormflowsGlow:
    """See `benchmarks.contenders.Contender`."""

    def __init__(self, config: BenchmarkConfig, device: torch.device):
        hidden, num_steps = glow_width(config), glow_steps(config)
        size, channels = config.image_size, 3
        bases, merges, flows = [], [], []
        for i in range(GLOW_LEVELS):  # From the last exit to the first.
            level_channels = channels * 2 ** (GLOW_LEVELS + 1 - i)
            steps = [
                nf.flows.GlowBlock(level_channels, hidden, split_mode="channel", scale=True)
                for _ in range(num_steps)
            ]
            flows.append([*steps, nf.flows.Squeeze()])
            side = size // 2 ** (GLOW_LEVELS - i)
            if i > 0:
                merges.append(nf.flows.Merge())
                shape = (level_channels // 2, side, side)
            else:
                shape = (level_channels, side, side)
            bases.append(nf.distributions.GlowBase(shape))
        self.flow = nf.MultiscaleFlow(
            bases, flows, merges, transform=nf.transforms.Logit(0.05), class_cond=False
        ).to(device)
        self.device = device
        self._shape = (size, size)
        self.num_parameters = count_parameters(self.flow)
        self._initialized = False

    def training_step(self, images: np.ndarray):
        self.flow.train()
        self._initialized = True
        there = as_tensor(images, self.device)
        return optimizer_step(self.flow, lambda x: -self._nats(x).mean(), there)

    @torch.no_grad()
    def log_prob(self, images: np.ndarray) -> np.ndarray:
        self._evaluate()
        return self._nats(as_tensor(images, self.device)).cpu().numpy()

    @torch.no_grad()
    def sample(self, n: int) -> np.ndarray:
        self._evaluate()
        pixels = 256 * self.flow.sample(n)[0]
        return pixels.floor().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    def conv_flops(self) -> int:
        self._evaluate()
        x = torch.zeros(1, 3, *self._shape, dtype=torch.uint8, device=self.device)
        with torch.no_grad():
            return count_conv_flops(lambda: self._nats(x))

    def num_training_ops(self) -> int | None:
        return None

    def _nats(self, images):
        pixels = (images.float() + torch.rand(images.shape, device=images.device)) / 256
        # The density is that of pixels in (0, 1); the logit is the transform.
        return self.flow.log_prob(pixels, None)

    def _evaluate(self):
        if not self._initialized:  # Actnorm takes its first values from the first batch.
            self._initialized = True
            shape = (8, 3, *self._shape)
            self._nats(torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device))
        self.flow.eval()
