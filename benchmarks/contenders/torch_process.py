"""What the PyTorch contenders share: threads, the device, a training step, counted convolution FLOPs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.architecture import BenchmarkConfig

__all__ = ["as_tensor", "count_conv_flops", "count_parameters", "optimizer_step", "prepare"]


def prepare(config: BenchmarkConfig) -> torch.device:
    """Before anything else runs; where models and images belong.

    On a GPU as TensorFlow has it by default: float32 in TF32, the fastest of cuDNN's algorithms.

    Raises:
        RuntimeError: PyTorch does not see the device that is asked for.
    """
    if config.device == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeError(
                "`device` must be one that PyTorch sees; got 'cuda', and it sees no GPU."
            )
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    return torch.device(config.device)


def as_tensor(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Uint8 `[N, H, W, C]` as uint8 `[N, C, H, W]`, channels-last in memory; on a CPU no copy."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(device)


def count_parameters(module: torch.nn.Module) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def optimizer_step(
    module: torch.nn.Module, loss_of: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor
) -> Callable[[], float]:
    """A function that takes one step of clipped Adam on `loss_of(images)`."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=1e-8, fused=True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 100.0)
        optimizer.step()
        return loss.item()

    return step


def count_conv_flops(function: Callable[[], object]) -> int:
    """Of the convolutions that `function` runs."""
    with FlopCounterMode(display=False) as counter:
        function()
    counts = counter.get_flop_counts()["Global"]
    return sum(n for op, n in counts.items() if "convolution" in str(op))
