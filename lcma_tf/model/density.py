"""What one can ask of a flow: scores, samples, latents; whoever keeps its weights.

`FlowModel` answers with the weights that it trains, `FrozenFlow` with a folded copy of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors import FlowLayer, PassOptions
from lcma_tf.config import ConfigError, FlowConfig, check_temperature, require_count
from lcma_tf.data.pipeline import check_some_images
from lcma_tf.model.bits_per_dim import nats_to_bits_per_dim
from lcma_tf.model.noise import SCORE, check_seed
from lcma_tf.model.passes import FlowPasses
from lcma_tf.model.pixel_distribution import PixelDistribution

__all__ = ["ImageDensity"]


class ImageDensity:
    """Public methods of a flow with its pixel transform and a standard normal base.

    Each is compiled once for any batch size and is a function of the current weights. Images are uint8
    `[N, H, W, C]` (or float32 0..255, where `config.real_valued`), latents float `[N, H, W, C]` in the
    same coordinates, densities nats per image over pixels in [0, 256). A mixin: all of it asks the
    `FlowPasses` that its owner makes.

    Attributes:
        passes: what is asked.
        flow: the bijector from latents to what the pixel transform makes of images.
        distribution: over pixels in [0, 256), events `[H, W, C]`.
    """

    passes: FlowPasses
    flow: FlowLayer
    distribution: PixelDistribution

    def ask(self, passes: FlowPasses) -> None:
        """Has all questions answered by `passes`."""
        self.passes = passes
        # Attributes of the owner: TensorFlow finds the variables of a checkpoint by them.
        self.flow, self.distribution = passes.flow, passes.distribution

    @property
    def config(self) -> FlowConfig:
        """What the flow is."""
        return self.passes.config

    @property
    def density_dtype(self) -> str:
        """Of densities and latents."""
        return self.passes.dtype

    @property
    def batch_invariant(self) -> bool:
        """Whether scores, latents and samples are computed one row at a time."""
        return self.passes.batch_invariant

    def log_prob(self, images, seed: int = 0, num_importance_samples: int = 1) -> tf.Tensor:
        """A lower bound of the log-probability of the 8-bit images, `[N]`, in nats.

        With one sample `log p(x + u)`, whose mean over u bounds `log p(x)`; with more of them
        `log mean_k p(x + u_k)`, a tighter bound. The noise u is a function of `seed` alone, the same
        for every image: a score depends on nothing but image and seed. Where a network makes other noise
        of it (`config.dequantization`), image by image, `p(x + u)` is divided by that noise's density.

        Args:
            images: uint8 `[N, H, W, C]`.
            seed: of the noise.
            num_importance_samples: number of noise draws; each costs a pass.

        Raises:
            ValueError: images of another type or shape, less than one sample, or a seed that is no
                integer.
        """
        images = self.checked_images(images)
        require_count("num_importance_samples", num_importance_samples)
        check_seed(seed)
        if images.shape[0] == 0:  # TensorFlow's fused convolutions fail on empty batches.
            return tf.zeros([0], self.density_dtype)
        passes = self.passes.for_rows(images.shape[0])
        if num_importance_samples == 1:
            return passes.log_prob(images, seed)
        return passes.bound(images, seed, num_importance_samples)

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
            ValueError: a negative `n`, a seed that is no integer, or a `temperature` out of its range.
            tf.errors.InvalidArgumentError: a draw is no finite image.
        """
        require_count("n", n, least=0)
        check_seed(seed)
        check_temperature(temperature)
        if n == 0:
            return tf.zeros([0, *self.config.image_shape], tf.uint8)
        return self.passes.for_rows(n).sample(n, seed, temperature)

    def encode(self, images, seed: int | None = None) -> tf.Tensor:
        """Images uint8 `[N, H, W, C]` to latents of the same shape.

        Each pixel is taken at the middle of its bin (u = 0.5), or, with a `seed`, at that seed's uniform
        noise, whatever `config.dequantization` draws for scores.
        """
        images = self.checked_images(images)
        if seed is not None:
            check_seed(seed)
        if images.shape[0] == 0:
            return tf.zeros(images.shape, self.density_dtype)
        shape = self.config.image_shape
        noise = tf.fill(shape, 0.5) if seed is None else self.passes.noise(SCORE, seed, 0)
        passes = self.passes.for_rows(images.shape[0])
        return passes.encode(images, tf.cast(noise, self.density_dtype))

    def decode(self, latents) -> tf.Tensor:
        """Latents `[N, H, W, C]` to uint8 images; `decode(encode(x))` is x.

        Where a flow of spline couplings is flat, on images unlike those of its training, float32 may be
        a level off in a pixel (docs/exactness.md); in float64 it is not.

        Raises:
            ValueError: latents of another shape or not finite; inside a graph, and where finite latents
                make no finite image, `tf.errors.InvalidArgumentError` when it runs.
        """
        latents = self.passes.of_event_shape("latents", _tensor("latents", latents))
        if latents.shape[0] == 0:
            return tf.zeros(latents.shape, tf.uint8)
        latents = tf.cast(latents, self.density_dtype)
        if tf.executing_eagerly():
            bad = int(tf.reduce_sum(tf.cast(~tf.math.is_finite(latents), tf.int64)))
            if bad:
                raise ValueError(f"`latents` must be finite; got {bad} values that are not.")
        return self.passes.for_rows(latents.shape[0]).decode(latents)

    def interpolate(self, a, b, steps: int = 8) -> tf.Tensor:
        """Images on the straight line between two latents: uint8 `[N, steps, H, W, C]`.

        Args:
            a: uint8 `[N, H, W, C]`; the first image of each path.
            b: of the same shape; the last image of each path.
            steps: at least 2, both ends included.
        """
        require_count("steps", steps, least=2)
        start, end = self.encode(a), self.encode(b)
        if start.shape != end.shape:
            raise ValueError(
                "`a` and `b` must hold the same number of images; "
                f"got {list(start.shape)} and {list(end.shape)}."
            )
        weights = np.linspace(0.0, 1.0, steps).tolist()
        return tf.stack([self.decode((1 - w) * start + w * end) for w in weights], axis=1)

    def log_prob_parts(self, images, noise, **options: Unpack[PassOptions]) -> tf.Tensor:
        """Latent density, log-det of each flow layer, log-det of pixels (and noise): `[N, K + 2]`.

        Args:
            images: `[N, H, W, C]`.
            noise: in [0, 1), broadcast to `images`.
            **options: as the bijectors take them.
        """
        return self.passes.latents_and_parts(images, noise, **options)[1]

    def scored_parts(self, images, noise) -> tf.Tensor:
        """`log_prob_parts` in inference mode, a batch as this flow runs it (`by_rows`): for graphs."""
        width = self.config.num_scales + 2
        return self.by_rows(self.log_prob_parts, (width,), self.density_dtype)(images, noise)

    def latents_and_log_prob(self, images, noise) -> tuple[tf.Tensor, tf.Tensor]:
        """Latents `[N, H, W, C]` and nats `[N]` of `images + noise` in one pass; `noise` in [0, 1)."""
        latents, parts = self.passes.latents_and_parts(images, noise)
        return latents, tf.reduce_sum(parts, axis=-1)

    def scoring_noise(self, seed: int, num_importance_samples: int = 1) -> tf.Tensor:
        """The noise of `log_prob` under `seed`: `[num_importance_samples, H, W, C]`."""
        draws = range(num_importance_samples)
        return tf.stack([self.passes.noise(SCORE, seed, draw) for draw in draws])

    def by_rows(self, function, shape, dtype) -> Callable[..., tf.Tensor]:
        """`function` of a batch as this flow runs it: `FlowPasses.by_rows`."""
        return self.passes.by_rows(function, shape, dtype)

    def layer_terms(self, images, noise) -> list[tf.Tensor]:
        """The log-det terms of each flow layer apart, nats `[N, H, W, C]`, in inference mode."""
        return self.passes.latents_and_terms(images, noise)[1]

    def layer_values(self, images, noise) -> list[tf.Tensor]:
        """What each flow layer makes of the images, `[N, H, W, C]`, in inference mode; latents last."""
        return self.flow.inverse_layer_values(self.passes.in_flow(images, noise))

    def checked_images(self, images) -> tf.Tensor:
        """`images` as a tensor `[N, H, W, C]` of the type that the flow scores.

        Raises:
            ValueError: they are of another type or shape.
        """
        images = _tensor("images", images)
        if images.dtype != tf.uint8 and not (self.config.real_valued and images.dtype.is_floating):
            # Floats are refused where they are not asked for: most have another range than 0..255.
            also = ", or floats 0..255" if self.config.real_valued else ""
            raise ValueError(
                f"`images` must be uint8 pixels 0..255{also} (noise is added by the model); "
                f"got dtype {images.dtype.name}."
            )
        return tf.cast(self.passes.of_event_shape("images", images), self.passes.pixel_type)

    def check_array(self, images: np.ndarray) -> None:
        """Checks a whole data set, of which no tensor is made.

        Raises:
            DataError: `images` are no NumPy array of rank 4, or none.
            ValueError: they are of another type or shape than the flow's.
        """
        check_some_images(images)
        self.passes.of_event_shape("images", tf.TensorSpec(images.shape))
        self.checked_images(images[:0])


def _tensor(name: str, value: Any) -> tf.Tensor:
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        kind = type(value).__name__
        raise ConfigError(f"`{name}` must be an array or a tensor; got {kind}.") from error
