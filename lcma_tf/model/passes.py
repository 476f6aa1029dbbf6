"""What is computed of a flow, in graphs: from images to latents and densities, and from latents back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Unpack

import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf.bijectors import (
    FlowLayer,
    ImageChain,
    PassOptions,
    VariationalDequantization,
    dequantize,
    quantize,
)
from lcma_tf.bijectors.shape_checks import ensure_event_shape
from lcma_tf.choices import PIXEL_TRANSFORMS
from lcma_tf.config import FlowConfig, require_count
from lcma_tf.model.graph_checks import finite
from lcma_tf.model.importance_bound import importance_weighted
from lcma_tf.model.noise import MOMENTS, SAMPLE, SCORE, stateless_seed
from lcma_tf.model.pieces import in_pieces, num_pieces
from lcma_tf.model.pixel_distribution import PixelDistribution
from lcma_tf.model.row_by_row import row_by_row
from lcma_tf.traced import traced

__all__ = ["FlowPasses"]

tfd = tfp.distributions


class FlowPasses:
    """The passes through a flow with its pixel transform and a standard normal base.

    Whole as soon as it is made, and not changed afterwards. `log_prob`, `bound`, `encode`, `decode` and
    `sample` are compiled once for any batch size and are functions of the weights that the flow has
    when they are called; they expect what `ImageDensity` has checked. `take_moments` takes a batch, the
    one of an index under a seed, into the averages that batch norms have of the batches before it.

    Args:
        config: what the flow is.
        flow: the bijector from latents to what the pixel transform makes of images.
        dtype: of densities and latents.
        dequantization: what makes noise of uniform noise, image by image; None = nothing does.
        batch_invariant: scores, latents and samples are computed one row at a time (`row_by_row`);
            `distribution` is not.
        pieces: how many of a batch are computed at once (`in_pieces`); None = as many as suit the
            threads that TensorFlow has here.

    Attributes:
        distribution: over pixels in [0, 256), events `[H, W, C]`.
        pixel_type: of images: uint8, or float32 where `config.real_valued`.
    """

    def __init__(
        self,
        config: FlowConfig,
        flow: FlowLayer,
        dtype: str,
        dequantization: VariationalDequantization | None = None,
        *,
        batch_invariant: bool = False,
        pieces: int | None = None,
    ):
        if pieces is not None:
            require_count("pieces", pieces)
        self.config = config
        self.flow = flow
        self.dtype = dtype
        self.dequantization = dequantization
        self.batch_invariant = batch_invariant
        self._pieces = pieces
        shape = config.image_shape
        self._pixels = PIXEL_TRANSFORMS[config.pixel_transform](config.alpha, shape)
        self._base = tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), shape)
        self.distribution = PixelDistribution(
            self._base, ImageChain([self._pixels, flow], shape, name="flow")
        )
        self.pixel_type = tf.float32 if config.real_valued else tf.uint8
        images = tf.TensorSpec([None, *shape], self.pixel_type)
        latents = tf.TensorSpec([None, *shape], dtype)
        integer = tf.TensorSpec([], tf.int32)
        log_prob, bound = (self.by_rows(f, (), dtype) for f in (self._log_prob, self._bound))
        encode = self.by_rows(self._encode, shape, dtype)
        self._pixels_of = self.by_rows(self.distribution.bijector.forward, shape, dtype)

        self.log_prob = _compiled(log_prob, images, integer)
        self.bound = _compiled(bound, images, integer, integer)
        self.encode = _compiled(encode, images, tf.TensorSpec(shape, dtype))
        self.decode = _compiled(self._decode, latents)
        self.sample = _compiled(self._sample, integer, integer, tf.TensorSpec([], dtype))
        self.take_moments = traced(self._take_moments, reduce_retracing=True)

    def for_rows(self, num_rows: int | None) -> FlowPasses:
        """Those for a batch of so many rows, None = any: one alone goes through no loop over pieces."""
        return self._of_one_row if num_rows == 1 else self

    @functools.cached_property
    def _of_one_row(self) -> FlowPasses:
        if self.batch_invariant or (self._pieces or num_pieces()) == 1:
            return self
        return FlowPasses(self.config, self.flow, self.dtype, self.dequantization, pieces=1)

    def by_rows(self, function, shape, dtype) -> Callable[..., tf.Tensor]:
        """`function` of a batch as this flow runs it: `in_pieces`, or `row_by_row`."""
        if self.batch_invariant:
            return row_by_row(function, shape, dtype)
        return in_pieces(function, shape, dtype, self._pieces)

    def latents_and_parts(
        self, images, noise, **options: Unpack[PassOptions]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Latents `[N, H, W, C]`, and the parts of their log-probability: `[N, K + 2]`, nats."""
        latents, layers, pixels = self.latents_and_terms(images, noise, **options)
        return latents, self.parts_of(latents, layers, pixels)

    def parts_of(self, latents, layers, pixels) -> tf.Tensor:
        """Of what `latents_and_terms` returns: latent density and log-dets, `[N, K + 2]`, nats."""
        log_dets = [tf.reduce_sum(terms, [1, 2, 3]) for terms in (*layers, pixels)]
        return tf.stack([self._base.log_prob(latents), *log_dets], axis=-1)

    def latents_and_terms(
        self, images, noise, **options: Unpack[PassOptions]
    ) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """Latents, log-det terms of each flow layer, those of pixels and noise: all `[N, H, W, C]`."""
        y, drawn = self.dequantized(images, noise, **options)
        latents, layers, pixels = self.latents_and_terms_of(y, **options)
        return latents, layers, pixels if drawn is None else pixels + drawn

    def latents_and_terms_of(
        self, y, **options: Unpack[PassOptions]
    ) -> tuple[tf.Tensor, list[tf.Tensor], tf.Tensor]:
        """The same of real pixels y in [0, 256), `[N, H, W, C]`, with no noise."""
        hidden, pixels = self._pixels.inverse_and_terms(y)
        latents, layers = self.flow.inverse_and_layer_terms(hidden, **options)
        return latents, layers, pixels

    def dequantized(
        self, images, noise, **options: Unpack[PassOptions]
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Real pixels `[N, H, W, C]`, and the log-det terms of their noise; None: it is `noise` itself.

        Args:
            images: `[N, H, W, C]`.
            noise: uniform in [0, 1), broadcast to `images`.
            **options: as the bijectors take them.
        """
        # They would broadcast against the noise.
        images = self.of_event_shape("images", tf.convert_to_tensor(images))
        drawn = None
        if self.dequantization is not None:
            images, noise = (tf.cast(tensor, self.dtype) for tensor in (images, noise))
            noise, drawn = self.dequantization.noise_and_terms(images, noise, **options)
        return dequantize(images, noise, self.dtype), drawn

    def in_flow(self, images, noise) -> tf.Tensor:
        """What enters the flow: `[N, H, W, C]`."""
        return self._pixels.inverse_and_terms(self.dequantized(images, noise)[0])[0]

    def noise(self, stream: int, seed, index, rows: tuple = ()) -> tf.Tensor:
        """Dequantization noise `[*rows, H, W, C]`, draw `index` of a stream of `lcma_tf.model.noise`."""
        event = self.config.image_shape
        noise = tf.random.stateless_uniform(
            [*rows, *event], stateless_seed(stream, seed, index), dtype=self.dtype, alg="philox"
        )
        return tf.ensure_shape(noise, [None] * len(rows) + [*event])

    def of_event_shape(self, name: str, tensor: tf.Tensor) -> tf.Tensor:
        """`tensor` (or its spec), checked to be `[N, H, W, C]` for the H, W and C of the flow."""
        shape = self.config.image_shape
        rule = f"`{name}` must have shape [N, {', '.join(map(str, shape))}]"
        return ensure_event_shape(tensor, shape, rule, rank=4)

    def _log_prob(self, images, seed, draw=0):
        noise = self.noise(SCORE, seed, draw)
        return tf.reduce_sum(self.latents_and_parts(images, noise)[1], axis=-1)

    def _bound(self, images, seed, num_draws):
        return importance_weighted(
            lambda draw: self._log_prob(images, seed, draw), tf.range(num_draws), self.dtype
        )

    def _take_moments(self, images, seed, index):
        momentum = tf.cast(index / (index + 1), self.dtype)  # The mean so far.
        noise = self.noise(MOMENTS, seed, index, rows=(tf.shape(images)[0],))
        self.latents_and_parts(images, noise, training=True, momentum=momentum)

    def _encode(self, images, noise):
        # The noise as it is: a network may draw it so near to the end of a bin that rounding leads out.
        return self.latents_and_terms_of(dequantize(images, noise, self.dtype))[0]

    def _decode(self, latents):
        # Cast to uint8, a NaN would be black. Both checks are of the whole batch: TensorFlow runs pieces
        # that check something one after another.
        latents = finite(latents, "`latents` must be finite.")
        pixels = self._pixels_of(latents)
        pixels = finite(pixels, "`latents` must lead to finite images: a row of them does not.")
        return quantize(pixels)

    def _sample(self, n, seed, temperature):
        shape = self.config.image_shape
        normal = tf.random.stateless_normal(
            [n, *shape], stateless_seed(SAMPLE, seed, 0), dtype=self.dtype, alg="philox"
        )
        return self.decode(temperature * tf.ensure_shape(normal, [None, *shape]))


def _compiled(function, *signature):
    return traced(function, input_signature=signature)
