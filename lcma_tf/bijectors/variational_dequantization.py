"""Noise below the integers of pixels that a network draws, who sees the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.coupling import Conditioner, tf_variables
from lcma_tf.bijectors.pass_options import PassOptions, check_options
from lcma_tf.factorization.masks import checkerboard

__all__ = ["VariationalDequantization"]

# The least distance from 0 and 1 of the noise that is bent: a half of the steps that float32 noise has.
_EDGE = 2.0**-24


class VariationalDequantization(ImageBijector):
    """Uniform noise to noise of a density `q(u | image)` that is trained to make the bound tight.

        v = logit(u)
        v = v exp(log_scale) + shift      at half of the pixels, a checkerboard or its complement in turn
        u' = sigmoid(v)
        where      shift, log_scale = conditioner([image / 128 - 1, what is kept of v])
        log-det    forward: log du'/du, dimension by dimension; 0 at the image (nats)

    An event is an image, pixels 0..255, and behind its channels the noise: `[..., H, W, 2 C]`. The image
    comes back as it is; the noise stays between 0 and 1, so that `image + u'` is of the same image.
    Where u is uniform, the sum of the log-dets is `-log q(u' | image)`, and

        log p(image)  >=  E_u [ log p(image + u') + log-det ],

    tight where q is what the flow itself takes for the noise of that image. Noise nearer than 2**-24 to
    0 or 1 is taken for that, and `forward` is not inverted there.

    Source: Ho et al. 2019 (Flow++), section 3.1.

    Args:
        conditioners: callables `[N, H, W, 2 C], **options -> (shift, log_scale)` of `[N, H, W, C]`, as
            of an `AffineCoupling`; each runs once in either direction.
        image_shape: `(H, W, C)`.

    Raises:
        ValueError: no conditioner.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf


        def conditioner(seen):
            image, noise = tf.split(seen, 2, axis=-1)
            return image, tf.tanh(noise)


        variational = lcma_tf.bijectors.VariationalDequantization([conditioner], (4, 4, 1))
        image = tf.random.stateless_uniform([5, 4, 4, 1], (0, 1), 0, 256, tf.int32)
        noise = tf.random.stateless_uniform([5, 4, 4, 1], (0, 2))
        drawn, terms = variational.noise_and_terms(tf.cast(image, tf.float32), noise)
        assert tf.reduce_all((drawn > 0) & (drawn < 1)) and terms.shape == (5, 4, 4, 1)
        ```
    """

    def __init__(
        self,
        conditioners: Sequence[Conditioner],
        image_shape: tuple[int, ...],
        name: str = "variational_dequantization",
    ):
        if not conditioners:
            raise ValueError("`conditioners` must hold at least one; got none.")
        height, width, channels = image_shape
        super().__init__((height, width, 2 * channels), name=name)
        self._image_shape = image_shape
        # Not tracked, as in an AffineCoupling.
        self._conditioners: Sequence[Conditioner] = self._no_dependency(tuple(conditioners))
        self._conditioner_variables = [v for net in conditioners for v in tf_variables(net)]

    def noise_and_terms(
        self, images: tf.Tensor, noise: tf.Tensor, **options: Unpack[PassOptions]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Noise u' and the terms of log du'/du, `[N, H, W, C]`, of pixels and uniform noise of its type.

        Args:
            images: `[N, H, W, C]`, pixels 0..255.
            noise: u in [0, 1), broadcast to `images`.
        """
        check_options(options)
        noise = tf.ensure_shape(tf.broadcast_to(noise, tf.shape(images)), images.shape)
        return self._noise_and_terms(images, noise, **options)

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        images, noise = tf.split(x, 2, -1)
        return _behind(images, *self._noise_and_terms(images, noise, **options))

    def _noise_and_terms(self, images, noise, **options: Unpack[PassOptions]):
        v, terms = _logit(noise)
        for index in range(len(self._conditioners)):
            shift, log_scale = self._step(index, images, v, **options)
            v = v * tf.exp(log_scale) + shift
            terms += log_scale
        noise, last = _sigmoid(v)
        return noise, terms + last

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        images, noise = tf.split(y, 2, -1)
        v, terms = _logit(noise)
        for index in reversed(range(len(self._conditioners))):
            shift, log_scale = self._step(index, images, v, **options)
            v = (v - shift) * tf.exp(-log_scale)
            terms -= log_scale
        noise, last = _sigmoid(v)
        return _behind(images, noise, terms + last)

    def _step(self, index: int, images, v, **options: Unpack[PassOptions]):
        """Shift and log-scale of a step, zero where it keeps the noise."""
        kept = tf.constant(checkerboard(self._image_shape, keep_even=index % 2 == 0), v.dtype)
        seen = tf.concat([images / 128 - 1, kept * v], -1)
        return [(1 - kept) * part for part in self._conditioners[index](seen, **options)]


def _logit(u):
    """Of u in (0, 1), and the terms of its log-det."""
    u = tf.clip_by_value(u, _EDGE, 1 - _EDGE)
    log_u, log_1mu = tf.math.log(u), tf.math.log1p(-u)
    return log_u - log_1mu, -log_u - log_1mu


def _sigmoid(v):
    return tf.sigmoid(v), tf.math.log_sigmoid(v) + tf.math.log_sigmoid(-v)


def _behind(images, noise, terms):
    return tf.concat([images, noise], -1), tf.concat([tf.zeros_like(images), terms], -1)
