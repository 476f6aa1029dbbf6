"""lcma_tf as it is served: the exported graph in TensorFlow's C++ session, without training."""

from __future__ import annotations

import tempfile

import numpy as np
import tensorflow as tf

from benchmarks.architecture import BenchmarkConfig
from benchmarks.contenders import lcma
from lcma_tf.serving.graph.signatures import ServingFlow
from lcma_tf.serving.runtime.cpp_session import CppSession

__all__ = ["build"]


def build(config: BenchmarkConfig, variant: str = "") -> ExportContender:
    """The variants: none."""
    return ExportContender(lcma.build(config, variant), config.threads)


class ExportContender:
    """See `benchmarks.contenders.Contender`; only what is served."""

    def __init__(self, live: lcma.LcmaContender, threads: int):
        self.num_parameters = live.num_parameters
        self.conv_flops = live.conv_flops
        serving = ServingFlow(live.model.frozen())
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(serving, folder, signatures=serving.signatures)
            self._session = CppSession(folder, threads=threads)

    def training_step(self, images: np.ndarray):
        raise NotImplementedError("What is served is not trained.")

    def log_prob(self, images: np.ndarray) -> np.ndarray:
        return self._session.run("log_prob", {"images": images})["log_prob"]

    def sample(self, n: int) -> np.ndarray:
        seed = np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.int32)
        return self._session.run("sample", {"seed": seed, "temperature": np.ones(n, np.float32)})[
            "images"
        ]

    def num_training_ops(self) -> None:
        return None
