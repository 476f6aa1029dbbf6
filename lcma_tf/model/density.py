"""What one can ask of a flow: scores, samples, latents; whoever keeps its weights.

`FlowModel` answers with the weights that it trains, `FrozenFlow` with a folded copy of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf.bijectors import FlowLayer, ImageChain, PixelLogit, dequantize, quantize
from lcma_tf.bijectors.shape_checks import ensure_event_shape
from lcma_tf.config import FlowConfig, check_temperature
from lcma_tf.model.bits_per_dim import nats_to_bits_per_dim
from lcma_tf.model.graph_checks import finite
from lcma_tf.model.importance_bound import importance_weighted
from lcma_tf.model.pixel_distribution import PixelDistribution
from lcma_tf.model.row_by_row import row_by_row
from lcma_tf.traced import traced

__all__ = ["TRAIN", "ImageDensity"]

tfd = tfp.distributions

# Streams of random numbers: the same seed gives unrelated noise in each.
SCORE, SAMPLE, TRAIN = 0, 1, 2


class ImageDensity:
    """Public methods of a flow with its pixel transform and a standard normal base.

    Each is compiled once for any batch size and is a function of the current weights. Images are uint8
    `[N, H, W, C]` (or float32 0..255, where `config.real_valued`), latents float `[N, H, W, C]` in the
    same coordinates, densities nats per image over pixels in [0, 256). A mixin: its owner calls
    `set_flow`.
    """

    config: FlowConfig
    flow: FlowLayer
    distribution: PixelDistribution
    density_dtype: str
    batch_invariant: bool

    def set_flow(
        self, config: FlowConfig, flow: FlowLayer, dtype: str, batch_invariant: bool = False
    ) -> None:
        """Takes the flow to answer with.

        Args:
            batch_invariant: scores, latents and samples are computed one row at a time (`row_by_row`);
                `distribution` is not.
        """
        self.config = config
        self.flow = flow
        self.density_dtype = dtype
        self.batch_invariant = batch_invariant
        shape = config.image_shape
        self._pixels = PixelLogit(config.alpha, config.pixel_transform, shape)
        self._base = tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), shape)
        self.distribution = PixelDistribution(
            self._base, ImageChain([self._pixels, flow], shape, name="flow")
        )
        self._pixel_type = tf.float32 if config.real_valued else tf.uint8
        images = tf.TensorSpec([None, *shape], self._pixel_type)
        latents = tf.TensorSpec([None, *shape], dtype)
        integer = tf.TensorSpec([], tf.int32)

        log_prob, bound = (
            self.by_rows(f, (), dtype) for f in (self._log_prob, self._importance_weighted_bound)
        )
        self._log_prob_function = _compiled(log_prob, images, integer)
        self._bound_function = _compiled(bound, images, integer, integer)
        self._encode_function = _compiled(
            self.by_rows(self._encode, shape, dtype), images, tf.TensorSpec(shape, dtype)
        )
        self._decode_function = _compiled(self.by_rows(self._decode, shape, tf.uint8), latents)
        self._sample_function = _compiled(self._sample, integer, integer, tf.TensorSpec([], dtype))

    def log_prob(self, images, seed: int = 0, num_importance_samples: int = 1) -> tf.Tensor:
        """A lower bound of the log-probability of the 8-bit images, `[N]`, in nats.

        With one sample `log p(x + u)`, whose mean over u bounds `log p(x)`; with more of them
        `log mean_k p(x + u_k)`, a tighter bound. The noise u is a function of `seed` alone, the same
        for every image: a score depends on nothing but image and seed.

        Args:
            images: uint8 `[N, H, W, C]`.
            seed: of the noise.
            num_importance_samples: number of noise draws; each costs a pass.

        Raises:
            ValueError: images of another type or shape, or less than one sample.
        """
        images = self._checked_images(images)
        if num_importance_samples < 1:
            raise ValueError(
                f"`num_importance_samples` must be at least 1; got {num_importance_samples}."
            )
        if images.shape[0] == 0:  # TensorFlow's fused convolutions fail on empty batches.
            return tf.zeros([0], self.density_dtype)
        if num_importance_samples == 1:
            return self._log_prob_function(images, seed)
        return self._bound_function(images, seed, num_importance_samples)

    def bits_per_dim(self, images, seed: int = 0, num_importance_samples: int = 1) -> tf.Tensor:
        """`-log_prob / (H W C log 2)`, `[N]`: bits/dim, lower is better. Arguments as `log_prob`."""
        log_prob = self.log_prob(images, seed, num_importance_samples)
        return nats_to_bits_per_dim(log_prob, self.config.num_dimensions)

    def sample(self, n: int, seed: int = 0, temperature: float = 1.0) -> tf.Tensor:
        """Draws uint8 images `[n, H, W, C]`, with inference statistics.

        Args:
            n: how many.
            seed: the same seed gives the same images.
            temperature: standard deviation of the latents, 0 to 2; 1 is the model's own distribution.

        Raises:
            ValueError: a negative `n`, or a `temperature` out of its range.
            tf.errors.InvalidArgumentError: a draw is no finite image.
        """
        if n < 0:
            raise ValueError(f"`n` must be at least 0; got {n}.")
        check_temperature(temperature)
        if n == 0:
            return tf.zeros([0, *self.config.image_shape], tf.uint8)
        return self._sample_function(n, seed, temperature)

    def encode(self, images, seed: int | None = None) -> tf.Tensor:
        """Images uint8 `[N, H, W, C]` to latents of the same shape.

        Each pixel is taken at the middle of its bin (u = 0.5), or, with a `seed`, at that seed's noise.
        """
        images = self._checked_images(images)
        if images.shape[0] == 0:
            return tf.zeros(images.shape, self.density_dtype)
        shape = self.config.image_shape
        noise = tf.fill(shape, 0.5) if seed is None else self._noise(SCORE, seed, 0)
        return self._encode_function(images, tf.cast(noise, self.density_dtype))

    def decode(self, latents) -> tf.Tensor:
        """Latents `[N, H, W, C]` to uint8 images; `decode(encode(x))` is x.

        Raises:
            ValueError: latents of another shape or not finite; inside a graph, and where finite latents
                make no finite image, `tf.errors.InvalidArgumentError` when it runs.
        """
        latents = self._of_event_shape("latents", tf.convert_to_tensor(latents))
        if latents.shape[0] == 0:
            return tf.zeros(latents.shape, tf.uint8)
        latents = tf.cast(latents, self.density_dtype)
        if tf.executing_eagerly():
            bad = int(tf.reduce_sum(tf.cast(~tf.math.is_finite(latents), tf.int64)))
            if bad:
                raise ValueError(f"`latents` must be finite; got {bad} values that are not.")
        return self._decode_function(latents)

    def interpolate(self, a, b, steps: int = 8) -> tf.Tensor:
        """Images on the straight line between two latents: uint8 `[N, steps, H, W, C]`.

        Args:
            a, b: uint8 `[N, H, W, C]`; the first and the last image of each path are a and b.
            steps: at least 2, both ends included.
        """
        if steps < 2:
            raise ValueError(f"`steps` must be at least 2; got {steps}.")
        start, end = self.encode(a), self.encode(b)
        if start.shape != end.shape:
            raise ValueError(
                "`a` and `b` must hold the same number of images; "
                f"got {list(start.shape)} and {list(end.shape)}."
            )
        weights = np.linspace(0.0, 1.0, steps).tolist()
        return tf.stack([self.decode((1 - w) * start + w * end) for w in weights], axis=1)

    def log_prob_parts(self, images, noise, **kwargs) -> tf.Tensor:
        """Latent density, log-det of each flow layer, log-det of the pixel transform: `[N, K + 2]`.

        Args:
            images: `[N, H, W, C]`.
            noise: in [0, 1), broadcast to `images`.
            **kwargs: `training`, `momentum`, `weight` as the bijectors take them.
        """
        return self._latents_and_parts(images, noise, **kwargs)[1]

    def latents_and_log_prob(self, images, noise) -> tuple[tf.Tensor, tf.Tensor]:
        """Latents `[N, H, W, C]` and nats `[N]` of `images + noise` in one pass; `noise` in [0, 1)."""
        latents, parts = self._latents_and_parts(images, noise)
        return latents, tf.reduce_sum(parts, axis=-1)

    def scoring_noise(self, seed: int, num_importance_samples: int = 1) -> tf.Tensor:
        """The noise of `log_prob` under `seed`: `[num_importance_samples, H, W, C]`."""
        draws = range(num_importance_samples)
        return tf.stack([self._noise(SCORE, seed, draw) for draw in draws])

    def by_rows(self, function, shape, dtype) -> Callable[..., tf.Tensor]:
        """`function` of a batch as this flow runs it: `row_by_row` if it is `batch_invariant`."""
        return row_by_row(function, shape, dtype) if self.batch_invariant else function

    def layer_terms(self, images, noise) -> list[tf.Tensor]:
        """The log-det terms of each flow layer apart, nats `[N, H, W, C]`, in inference mode."""
        return self._latents_and_terms(images, noise)[1]

    # How it is done: each of these is traced once.

    def _latents_and_parts(self, images, noise, **kwargs):
        latents, layers, pixels = self._latents_and_terms(images, noise, **kwargs)
        log_dets = [tf.reduce_sum(terms, [1, 2, 3]) for terms in (*layers, pixels)]
        return latents, tf.stack([self._base.log_prob(latents), *log_dets], axis=-1)

    def _latents_and_terms(self, images, noise, **kwargs):
        # They would broadcast against the noise.
        images = self._of_event_shape("images", tf.convert_to_tensor(images))
        y = dequantize(images, noise, tf.as_dtype(self.density_dtype))
        hidden, pixels = self._pixels.inverse_and_terms(y)
        latents, layers = self.flow.inverse_and_layer_terms(hidden, **kwargs)
        return latents, layers, pixels

    def _log_prob(self, images, seed, draw=0):
        noise = self._noise(SCORE, seed, draw)
        return self.latents_and_log_prob(images, noise)[1]

    def _importance_weighted_bound(self, images, seed, num_draws):
        return importance_weighted(
            lambda draw: self._log_prob(images, seed, draw),
            tf.range(num_draws),
            self.density_dtype,
        )

    def _sample(self, n, seed, temperature):
        shape = self.config.image_shape
        normal = tf.random.stateless_normal(
            [n, *shape], _stream(SAMPLE, seed, 0), dtype=self.density_dtype, alg="philox"
        )
        return self._decode_function(temperature * tf.ensure_shape(normal, [None, *shape]))

    def _encode(self, images, noise):
        return self._latents_and_terms(images, noise)[0]

    def _decode(self, latents):
        # Cast to uint8, a NaN would be black.
        latents = finite(latents, "`latents` must be finite.")
        pixels = self.distribution.bijector.forward(latents)
        pixels = finite(pixels, "`latents` must lead to finite images: a row of them does not.")
        return quantize(pixels)

    def _noise(self, stream, seed, index, rows: tuple = ()) -> tf.Tensor:
        shape = [*rows, *self.config.image_shape]
        noise = tf.random.stateless_uniform(
            shape, _stream(stream, seed, index), dtype=self.density_dtype, alg="philox"
        )
        return tf.ensure_shape(noise, [None] * len(rows) + [*self.config.image_shape])

    def _checked_images(self, images):
        images = tf.convert_to_tensor(images)
        if images.dtype != tf.uint8 and not (self.config.real_valued and images.dtype.is_floating):
            # Floats are refused where they are not asked for: most have another range than 0..255.
            also = ", or floats 0..255" if self.config.real_valued else ""
            raise ValueError(
                f"`images` must be uint8 pixels 0..255{also} (noise is added by the model); "
                f"got dtype {images.dtype.name}."
            )
        return tf.cast(self._of_event_shape("images", images), self._pixel_type)

    def _of_event_shape(self, name, tensor):
        shape = self.config.image_shape
        rule = f"`{name}` must have shape [N, {', '.join(map(str, shape))}]"
        return ensure_event_shape(tensor, shape, rule, rank=4)


def _compiled(function, *signature):
    return traced(function, input_signature=signature)


def _stream(stream, seed, index):
    """A stateless seed for draw `index` of one purpose under a user's seed."""
    seed = tf.stack([tf.cast(seed, tf.int32), tf.constant(stream, tf.int32)])
    return tf.random.experimental.stateless_fold_in(seed, tf.cast(index, tf.int32), alg="philox")
