"""TensorFlow Probability's own `tfb.Glow` in a `TransformedDistribution`, trained by Keras' Adam.

Three blocks; as many steps a block as give the convolution FLOPs of the RealNVP, about. Its networks
are TFP's own (Keras 2), its log-prob and training step one `tf.function` each.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from benchmarks.architecture import GLOW_LEVELS, BenchmarkConfig, glow_steps, glow_width
from benchmarks.contenders.tensorflow_graph import count_conv_flops, count_ops, prepare

__all__ = ["build"]

tfb, tfd = tfp.bijectors, tfp.distributions


def build(config: BenchmarkConfig, variant: str = "") -> TfpGlow:
    del variant
    prepare(config)
    return TfpGlow(config)


class TfpGlow:
    """See `benchmarks.contenders.Contender`."""

    def __init__(self, config: BenchmarkConfig):
        hidden = glow_width(config)
        self._shape = config.image_shape
        glow = tfb.Glow(
            output_shape=self._shape,
            num_glow_blocks=GLOW_LEVELS,
            num_steps_per_block=glow_steps(config),
            coupling_bijector_fn=lambda shape: tfb.GlowDefaultNetwork(shape, num_hidden=hidden),
            exit_bijector_fn=tfb.GlowDefaultExitNetwork,
        )
        # Latents to [0, 256): Glow, then the two-sided logit of the pixels undone.
        to_pixels = [tfb.Scale(256 / 0.9), tfb.Shift(-0.05), tfb.Sigmoid()]
        self.distribution = tfd.TransformedDistribution(
            tfd.Sample(tfd.Normal(0.0, 1.0), glow.inverse_event_shape(self._shape)),
            tfb.Chain([*to_pixels, glow]),
        )
        self._optimizer = tf_keras.optimizers.Adam(1e-3, epsilon=1e-8, global_clipnorm=100.0)
        # Eager, once: makes the variables, and takes actnorm's first values from a batch.
        pixels = tf.random.stateless_uniform([8, *self._shape], [0, 0], 0.0, 256.0)
        self.distribution.log_prob(pixels)
        self._variables = self.distribution.trainable_variables
        self.num_parameters = sum(int(np.prod(v.shape)) for v in self._variables)
        # Traced for each batch size: under an unknown one, Glow's reshapes fail.
        self._log_prob = tf.function(self._nats, autograph=False)
        self._sample = tf.function(self._draw, autograph=False)
        self._step = tf.function(self._train, autograph=False)
        self._batch: tf.Tensor | None = None

    def training_step(self, images: np.ndarray):
        self._batch = batch = tf.constant(images)
        self._optimizer.build(self._variables)
        return lambda: float(self._step(batch))

    def log_prob(self, images: np.ndarray) -> np.ndarray:
        return self._log_prob(tf.constant(images)).numpy()

    def sample(self, n: int) -> np.ndarray:
        return self._sample(n).numpy()

    def conv_flops(self) -> int:
        return count_conv_flops(self._nats, tf.TensorSpec([1, *self._shape], tf.uint8))

    def num_training_ops(self) -> int | None:
        return count_ops(self._step.get_concrete_function(self._batch).graph)

    def _nats(self, images):
        noise = tf.random.uniform(tf.shape(images))
        return self.distribution.log_prob(tf.cast(images, tf.float32) + noise)

    def _draw(self, n):
        pixels = self.distribution.sample(n)
        return tf.cast(tf.clip_by_value(tf.floor(pixels), 0, 255), tf.uint8)

    def _train(self, images):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(self._nats(images))
        gradients = tape.gradient(loss, self._variables)
        self._optimizer.apply_gradients(zip(gradients, self._variables, strict=True))
        return loss
