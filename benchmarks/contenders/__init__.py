"""The contenders: one module each, imported only in the process that measures it.

A module offers `build(config, variant) -> Contender`. A new contender is a module and a line here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Protocol

import numpy as np

from benchmarks.architecture import BenchmarkConfig

__all__ = ["CONTENDERS", "PEER", "Contender", "Entry", "missing_packages"]

PEER = "torch"  # What ratios are relative to.


class Contender(Protocol):
    """One model in one framework. Images are uint8 `[N, H, W, C]`."""

    num_parameters: int

    def training_step(self, images: np.ndarray) -> Callable[[], float]:
        """A function that takes one optimizer step on these images and returns the loss."""
        ...

    def log_prob(self, images: np.ndarray) -> np.ndarray:
        """Nats `[N]`, in inference mode."""
        ...

    def sample(self, n: int) -> np.ndarray:
        """Images `[n, H, W, C]`."""
        ...

    def conv_flops(self) -> int:
        """Of one image's `log_prob`, counted in what runs, not by formula."""
        ...

    def num_training_ops(self) -> int | None:
        """Nodes in the graph of the training step; None where there is none."""
        ...


Build = Callable[[BenchmarkConfig, str], Contender]


@dataclasses.dataclass(frozen=True)
class Entry:
    """How a contender is reached.

    Args:
        module: inside `benchmarks.contenders`.
        variant: handed to its `build`.
        packages: what it needs beyond the requirements of lcma_tf.
        same_architecture: whether it is the RealNVP, so that times compare as they are.
        bound: it is no model, only the convolutions of one.
    """

    module: str
    variant: str = ""
    packages: tuple[str, ...] = ()
    same_architecture: bool = True
    bound: bool = False


CONTENDERS = {
    "lcma": Entry("lcma"),
    "lcma_bfloat16": Entry("lcma", "bfloat16"),
    "lcma_batch_invariant": Entry("lcma", "batch_invariant"),
    "lcma_serial_ops": Entry("lcma", "serial_ops"),
    "lcma_rematerialize": Entry("lcma", "rematerialize"),
    "lcma_jit": Entry("lcma", "jit"),
    "lcma_jit_bfloat16": Entry("lcma", "jit_bfloat16"),
    "lcma_export": Entry("lcma_export"),
    "torch": Entry("torch_realnvp", packages=("torch",)),
    "torch_folded": Entry("torch_realnvp", "folded", ("torch",)),
    "torch_compile": Entry("torch_realnvp", "compile", ("torch",)),
    "torch_bfloat16": Entry("torch_realnvp", "bfloat16", ("torch",)),
    "lcma_glow": Entry("lcma", "glow", same_architecture=False),
    "normflows_glow": Entry(
        "normflows_glow", packages=("torch", "normflows"), same_architecture=False
    ),
    "tfp_glow": Entry("tfp_glow", same_architecture=False),
    "bare": Entry("bare_convolutions", bound=True),
    "bare_bfloat16": Entry("bare_convolutions", "bfloat16", bound=True),
}


def missing_packages(name: str) -> list[str]:
    """What must be installed before `name` can run; nothing is imported to find out."""
    return [p for p in CONTENDERS[name].packages if importlib.util.find_spec(p) is None]
