"""lcma_tf: a `FlowModel` trained as `fit` trains it; scores and samples from its frozen copy.

Variants: "bfloat16" (`--mixed_precision`, `frozen(mixed_precision=True)`), "batch_invariant"
(`frozen(batch_invariant=True)`), "rematerialize", "serial_ops" (`--intra_op_threads=1`), "jit" (training
by XLA), "jit_bfloat16" (both). And "glow": not the RealNVP but the Glow of `normflows_glow`, layer for
layer.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

import lcma_tf
from benchmarks.architecture import GLOW_LEVELS, BenchmarkConfig, glow_steps, glow_width
from benchmarks.contenders.tensorflow_graph import count_conv_flops, count_ops, prepare
from lcma_tf.model.fused_adam import FusedAdam

__all__ = ["build"]


def build(config: BenchmarkConfig, variant: str = "") -> LcmaContender:
    prepare(config)
    if variant == "serial_ops":
        tf.config.threading.set_intra_op_parallelism_threads(1)
    return LcmaContender(config, variant)


def flow_config(config: BenchmarkConfig, variant: str) -> lcma_tf.FlowConfig:
    """The flow of a contender."""
    if variant == "glow":
        return lcma_tf.FlowConfig(
            image_shape=config.image_shape,
            flow="glow",
            num_scales=GLOW_LEVELS,
            base_dim=glow_width(config),
            num_steps_per_scale=glow_steps(config),
        )
    return lcma_tf.FlowConfig(
        image_shape=config.image_shape,
        num_scales=config.num_scales,
        base_dim=config.base_dim,
        num_residual_blocks=config.num_residual_blocks,
        mixed_precision="bfloat16" in variant,
    )


class LcmaContender:
    """See `benchmarks.contenders.Contender`."""

    def __init__(self, config: BenchmarkConfig, variant: str = ""):
        self._variant = variant
        flow = flow_config(config, variant)
        factorization = lcma_tf.decide_factorization(
            "realnvp", image_shape=config.image_shape, num_scales=flow.num_scales
        )
        self.model = lcma_tf.FlowModel(
            flow, factorization, rematerialize=variant == "rematerialize"
        )
        self.num_parameters = self.model.num_parameters

    def training_step(self, images: np.ndarray):
        model = self.model
        model.compile(
            FusedAdam(1e-3, epsilon=1e-8, global_clipnorm=100.0),
            loss=lcma_tf.NegativeLogLikelihood(),
            jit_compile="jit" in self._variant,
        )
        model.optimizer.build(model.trainable_variables)
        model.make_train_function()
        batches = tf.data.Dataset.from_tensors(images).repeat().prefetch(tf.data.AUTOTUNE)
        iterator = iter(batches)
        return lambda: float(model.train_function(iterator)["loss"])

    def log_prob(self, images: np.ndarray) -> np.ndarray:
        return self._frozen.log_prob(images).numpy()

    def sample(self, n: int) -> np.ndarray:
        return self._frozen.sample(n).numpy()

    def conv_flops(self) -> int:
        image = tf.TensorSpec([1, *self.model.config.image_shape], tf.uint8)
        # Not `call`, which may cut a batch in pieces, a loop of unknown shapes.
        return count_conv_flops(lambda images: self.model.log_prob_parts(images, 0.5), image)

    def num_training_ops(self) -> int | None:
        # Traced anew: Keras hides the function that it made.
        step = tf.function(self.model.train_step, autograph=False)
        images = tf.TensorSpec([None, *self.model.config.image_shape], tf.uint8)
        return count_ops(step.get_concrete_function(images).graph)

    @functools.cached_property
    def _frozen(self):
        return self.model.frozen(
            mixed_precision="bfloat16" in self._variant,
            batch_invariant=self._variant == "batch_invariant",
        )
