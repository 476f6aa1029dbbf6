"""The same RealNVP in PyTorch, as someone who knows PyTorch would write it.

One long file, to be read as a whole beside ours.

Layer for layer that of `lcma_tf` (the tests compare log-probabilities under equal weights): fused weight
norm, `BatchNorm2d`, channels-last memory, fused Adam. Variants:

    ""          eager
    "folded"    eager; for inference, weight-normalized kernels are computed once
    "compile"   `torch.compile`, once for each batch size
    "bfloat16"  the conditioners under autocast, everything else in float32
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.architecture import BenchmarkConfig
from benchmarks.contenders.torch_process import (
    as_tensor,
    count_conv_flops,
    count_parameters,
    optimizer_step,
    prepare,
)

__all__ = ["RealNVP", "TorchContender", "build"]

EPSILON = 1e-4
ALPHA = 0.05
L2 = 5e-5


def build(config: BenchmarkConfig, variant: str = "") -> TorchContender:
    return TorchContender(config, variant, prepare(config))


class NormedConv(nn.Module):
    """A convolution whose kernels have norm one, times a learned magnitude if `magnitude`."""

    def __init__(self, inputs, outputs, kernel, magnitude=True, bias=True):
        super().__init__()
        limit = math.sqrt(2 / inputs)
        self.direction = nn.Parameter(
            torch.empty(outputs, inputs, kernel, kernel).uniform_(-limit, limit)
        )
        scale = torch.full((outputs, 1, 1, 1), math.sqrt(kernel**2 / 6) if magnitude else 1.0)
        self.magnitude = nn.Parameter(scale, requires_grad=magnitude)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.padding = kernel // 2
        self.folded = None

    def weight(self) -> Tensor:
        return torch._weight_norm(self.direction, self.magnitude, 0)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight() if self.folded is None else self.folded
        return F.conv2d(x, weight, self.bias, padding=self.padding)


class BatchNorm(nn.BatchNorm2d):
    """With a trained shift and no trained scale."""

    def __init__(self, channels):
        super().__init__(channels, eps=EPSILON, momentum=0.1)
        self.weight.requires_grad_(False)


class ResidualBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first_norm, self.second_norm = BatchNorm(width), BatchNorm(width)
        self.first = NormedConv(width, width, 3, magnitude=False, bias=False)
        self.second = NormedConv(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(F.relu(self.first_norm(x), inplace=True))
        return x + self.second(F.relu(self.second_norm(hidden), inplace=True))


class Conditioner(nn.Module):
    """What is kept `[N, c, h, w]` -> shift and log-scale of what is changed."""

    def __init__(self, inputs, outputs, width, num_blocks, pixel_mask=None):
        super().__init__()
        self.register_buffer("pixel_mask", pixel_mask)
        self.scale = nn.Parameter(torch.tensor(1.0 if pixel_mask is None else 0.0))
        self.norm = BatchNorm(inputs)
        self.first = NormedConv(2 * inputs + (pixel_mask is not None), width, 3, magnitude=False)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(num_blocks))
        self.skips = nn.ModuleList(NormedConv(width, width, 1) for _ in range(num_blocks + 1))
        self.last_norm = BatchNorm(width)
        self.last = NormedConv(width, 2 * outputs, 1)

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(kept)
        if self.pixel_mask is None:
            x = torch.cat([x, -x], 1)
        else:
            x = 2 * x
            x = torch.cat([x, -x, self.pixel_mask.expand(len(x), -1, -1, -1)], 1)
        x = self.first(F.relu(x, inplace=True))
        total = self.skips[0](x)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            x = block(x)
            total = total + skip(x)
        shift, raw = self.last(F.relu(self.last_norm(total), inplace=True)).chunk(2, 1)
        return shift, self.scale * torch.tanh(raw)


class InFlowBatchNorm(nn.Module):
    """Normalizes what a coupling changed; `mask` is 1 there, None = everywhere."""

    def __init__(self, channels, mask=None):
        super().__init__()
        self.register_buffer("mask", mask)
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("variance", torch.ones(1, channels, 1, 1))
        self.share = 1.0 if mask is None else mask.mean().item()

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        mean, variance = self.mean, self.variance
        if self.training:
            mean, variance = self._batch_moments(y)
            with torch.no_grad():
                self.mean.lerp_(mean, 0.1)
                self.variance.lerp_(variance, 0.1)
        log_std = 0.5 * torch.log(variance + EPSILON)
        x = (y - mean) * torch.exp(-log_std)
        if self.mask is not None:
            x = torch.where(self.mask > 0, x, y)
        positions = y.shape[2] * y.shape[3] * self.share
        return x, -positions * log_std.sum()

    def inverse(self, x: Tensor) -> Tensor:
        y = x * torch.sqrt(self.variance + EPSILON) + self.mean
        return y if self.mask is None else torch.where(self.mask > 0, y, x)

    def _batch_moments(self, y):
        if self.mask is None:
            variance, mean = torch.var_mean(y, (0, 2, 3), correction=0, keepdim=True)
            return mean, variance
        mean = (y * self.mask).mean((0, 2, 3), keepdim=True) / self.share
        squares = (y - mean).square() * self.mask
        return mean, squares.mean((0, 2, 3), keepdim=True) / self.share


class CheckerboardCoupling(nn.Module):
    def __init__(self, shape, width, num_blocks, keep_even):
        super().__init__()
        channels, height, width_px = shape
        parity = (torch.arange(height)[:, None] + torch.arange(width_px)) % 2
        kept = (parity == (0 if keep_even else 1)).float()[None, None]
        self.register_buffer("kept", kept)
        self.register_buffer("changed", 1 - kept)
        self.conditioner = Conditioner(channels, channels, width, num_blocks, kept.clone())
        self.norm = InFlowBatchNorm(channels, 1 - kept)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_log_scale(y)
        x, log_det = self.norm((y + shift) * torch.exp(log_scale))
        return x, log_scale.sum((1, 2, 3)) + log_det

    def inverse(self, x: Tensor) -> Tensor:
        x = self.norm.inverse(x)
        shift, log_scale = self._shift_and_log_scale(x)
        return x * torch.exp(-log_scale) - shift

    def _shift_and_log_scale(self, images):
        shift, log_scale = self.conditioner(images * self.kept)
        return shift * self.changed, log_scale * self.changed


class ChannelCoupling(nn.Module):
    def __init__(self, channels, width, num_blocks, keep_first):
        super().__init__()
        self.keep_first = keep_first
        self.conditioner = Conditioner(channels // 2, channels // 2, width, num_blocks)
        self.norm = InFlowBatchNorm(channels // 2)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = self._halves(y)
        shift, log_scale = self.conditioner(kept)
        changed, log_det = self.norm((changed + shift) * torch.exp(log_scale))
        return self._whole(kept, changed), log_scale.sum((1, 2, 3)) + log_det

    def inverse(self, x: Tensor) -> Tensor:
        kept, changed = self._halves(x)
        shift, log_scale = self.conditioner(kept)
        changed = self.norm.inverse(changed) * torch.exp(-log_scale) - shift
        return self._whole(kept, changed)

    def _halves(self, images):
        first, second = images.chunk(2, 1)
        return (first, second) if self.keep_first else (second, first)

    def _whole(self, kept, changed):
        return torch.cat([kept, changed] if self.keep_first else [changed, kept], 1)


class RealNVP(nn.Module):
    """Data to latents, a list of latents, one for each exit: their order does not matter here."""

    def __init__(self, config: BenchmarkConfig):
        super().__init__()
        height, width_px, channels = config.image_shape
        width, blocks = config.base_dim, config.num_residual_blocks
        self.checkerboards, self.channels = nn.ModuleList(), nn.ModuleList()
        for level in range(config.num_scales):
            is_last = level == config.num_scales - 1
            shape = (channels, height, width_px)
            self.checkerboards.append(
                nn.ModuleList(
                    CheckerboardCoupling(shape, width, blocks, i % 2 == 0)
                    for i in range(4 if is_last else 3)
                )
            )
            if not is_last:
                self.channels.append(
                    nn.ModuleList(
                        ChannelCoupling(4 * channels, 2 * width, blocks, i % 2 == 0)
                        for i in range(3)
                    )
                )
                height, width_px = height // 2, width_px // 2
                channels, width = 2 * channels, 2 * width
        self.image_shape = config.image_shape

    @property
    def couplings(self) -> list[nn.Module]:
        """In the order in which they run, data to latents."""
        levels = [*self.channels, []]
        return [
            coupling
            for pair in zip(self.checkerboards, levels, strict=True)
            for half in pair
            for coupling in half
        ]

    def log_prob(self, images: Tensor, noise: Tensor) -> Tensor:
        """Uint8 `[N, C, H, W]` -> nats `[N]`."""
        unit = ALPHA + (1 - 2 * ALPHA) * (images.float() + noise) / 256
        log_unit, log_rest = torch.log(unit), torch.log1p(-unit)
        x = log_unit - log_rest
        terms = math.log((1 - 2 * ALPHA) / 256) - log_unit - log_rest
        log_prob = terms.sum((1, 2, 3))
        for level, checkerboards in enumerate(self.checkerboards):
            for coupling in checkerboards:
                x, log_det = coupling(x)
                log_prob = log_prob + log_det
            if level == len(self.channels):
                break
            x = F.pixel_unshuffle(x, 2)
            for coupling in self.channels[level]:
                x, log_det = coupling(x)
                log_prob = log_prob + log_det
            x, exited = _split(x)
            log_prob = log_prob + _log_normal(exited)
        return log_prob + _log_normal(x)

    def decode(self, latents: list[Tensor]) -> Tensor:
        """Latents, those of the first exit first, to uint8 images `[N, C, H, W]`."""
        x = latents[-1]
        for level in reversed(range(len(self.checkerboards))):
            if level < len(self.channels):
                x = _join(x, latents[level])
                for coupling in reversed(self.channels[level]):
                    x = coupling.inverse(x)
                x = F.pixel_shuffle(x, 2)
            for coupling in reversed(self.checkerboards[level]):
                x = coupling.inverse(x)
        pixels = 256 * (torch.sigmoid(x) - ALPHA) / (1 - 2 * ALPHA)
        return pixels.floor().clamp(0, 255).to(torch.uint8)

    def draw_latents(self, n: int, device: torch.device) -> list[Tensor]:
        height, width, channels = self.image_shape
        latents = []
        for _ in range(len(self.channels)):
            height, width, channels = height // 2, width // 2, 2 * channels
            latents.append(torch.randn(n, channels, height, width, device=device))
        last = torch.randn(n, channels, height, width, device=device)
        return [z.contiguous(memory_format=torch.channels_last) for z in (*latents, last)]

    def penalty(self) -> Tensor:
        """L2 of the magnitudes and of the checkerboards' scales."""
        penalized = [
            module.magnitude
            for module in self.modules()
            if isinstance(module, NormedConv) and module.magnitude.requires_grad
        ]
        for checkerboards in self.checkerboards:
            penalized += [coupling.conditioner.scale.view(1) for coupling in checkerboards]
        return L2 * torch.cat([p.flatten() for p in penalized]).square().sum()

    def loss(self, images: Tensor, noise: Tensor) -> Tensor:
        return self.penalty() - self.log_prob(images, noise).mean()


def _split(x):
    """The squeezed image's diagonal goes on, the rest exits."""
    blocks = x.unflatten(1, (-1, 4))
    return blocks[:, :, [0, 3]].flatten(1, 2), blocks[:, :, [1, 2]].flatten(1, 2)


def _join(kept, exited):
    kept, exited = kept.unflatten(1, (-1, 2)), exited.unflatten(1, (-1, 2))
    blocks = [kept[:, :, :1], exited, kept[:, :, 1:]]
    return torch.cat(blocks, 2).flatten(1, 2)


def _log_normal(x):
    return -0.5 * (x.square() + math.log(2 * math.pi)).sum((1, 2, 3))


class TorchContender:
    """See `benchmarks.contenders.Contender`."""

    def __init__(self, config: BenchmarkConfig, variant: str, device: torch.device):
        self.variant, self.device = variant, device
        self.flow = RealNVP(config).to(device, memory_format=torch.channels_last)
        self.num_parameters = count_parameters(self.flow)
        if variant == "bfloat16":
            for coupling in self.flow.couplings:
                coupling.conditioner = Autocast(coupling.conditioner)
        compiled = variant == "compile"
        self._loss = _compiled(self.flow.loss) if compiled else self.flow.loss
        self._log_prob = _compiled(self.flow.log_prob) if compiled else self.flow.log_prob
        self._decode = _compiled(self.flow.decode) if compiled else self.flow.decode

    def training_step(self, images: np.ndarray):
        self.flow.train()
        there = as_tensor(images, self.device)
        return optimizer_step(self.flow, lambda x: self._loss(x, _noise(x)), there)

    @torch.inference_mode()
    def log_prob(self, images: np.ndarray) -> np.ndarray:
        self._evaluate()
        x = as_tensor(images, self.device)
        return self._log_prob(x, _noise(x[:1])).cpu().numpy()

    @torch.inference_mode()
    def sample(self, n: int) -> np.ndarray:
        self._evaluate()
        images = self._decode(self.flow.draw_latents(n, self.device))
        return images.permute(0, 2, 3, 1).cpu().numpy()

    def conv_flops(self) -> int:
        self.flow.eval()
        shape = (1, 3, *self.flow.image_shape[:2])
        x = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        with torch.no_grad():
            return count_conv_flops(lambda: self.flow.log_prob(x, _noise(x)))

    def num_training_ops(self) -> int | None:
        return None

    def _evaluate(self):
        if not self.flow.training:
            return
        self.flow.eval()
        if self.variant == "folded":
            for module in self.flow.modules():
                if isinstance(module, NormedConv):
                    module.folded = module.weight()


class Autocast(nn.Module):
    """Runs a conditioner in bfloat16 and returns float32."""

    def __init__(self, conditioner: nn.Module):
        super().__init__()
        self.conditioner = conditioner

    @property
    def scale(self) -> Tensor:
        return self.conditioner.scale

    def forward(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(kept.device.type, torch.bfloat16):
            shift, log_scale = self.conditioner(kept)
        return shift.float(), log_scale.float()


def _compiled(function):
    return torch.compile(function, dynamic=False)


def _noise(images):
    noise = torch.rand(images.shape, device=images.device)
    return noise.contiguous(memory_format=torch.channels_last)
