"""Space to channels and back: at half the resolution, four times the channels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector, tfb
from lcma_tf.bijectors.nested import NestedBijector
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.integers import is_integer

__all__ = ["Squeeze", "Squeezed", "squeeze", "unsqueeze"]


def squeeze(images: tf.Tensor) -> tf.Tensor:
    """`[N, h, w, c]` -> `[N, h/2, w/2, 4c]`, channel-major: pixel (i, j) of a block -> `4c + 2i + j`.

    The order of the RealNVP program, Glow and TFP; `tf.nn.space_to_depth` has another one, and the
    order decides which half conditions which in the channel couplings.
    """
    _, height, width, channels = images.shape
    split = tf.reshape(images, [-1, height // 2, 2, width // 2, 2, channels])
    return tf.reshape(
        tf.transpose(split, [0, 1, 3, 5, 2, 4]), [-1, height // 2, width // 2, 4 * channels]
    )


def unsqueeze(images: tf.Tensor) -> tf.Tensor:
    """`[N, h/2, w/2, 4c]` -> `[N, h, w, c]`: the inverse of `squeeze`."""
    _, height, width, channels = images.shape
    split = tf.reshape(images, [-1, height, width, channels // 4, 2, 2])
    return tf.reshape(
        tf.transpose(split, [0, 1, 4, 2, 5, 3]), [-1, 2 * height, 2 * width, channels // 4]
    )


class Squeeze(ImageBijector):
    """`forward` squeezes `[h, w, c]` to `[h/2, w/2, 4c]`, `inverse` puts the pixels back.

        forward    y[i, j, 4 c + 2 a + b] = x[2 i + a, 2 j + b, c]
        inverse    x[2 i + a, 2 j + b, c] = y[i, j, 4 c + 2 a + b]
        log-det    0

    Source: Dinh et al. 2016, section 3.6; channel-major as in its program.

    Args:
        event_shape: `(h, w, c)` of x, h and w even.

    Raises:
        ValueError: an odd height or width.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        x = tf.reshape(tf.range(4.0), [1, 2, 2, 1])
        y = lcma_tf.bijectors.Squeeze((2, 2, 1)).forward(x)
        assert y.numpy().tolist() == [[[[0.0, 1.0, 2.0, 3.0]]]]
        ```
    """

    def __init__(self, event_shape: tuple[int, ...], name: str = "squeeze"):
        height, width, channels = _even(event_shape)
        squeezed = (height // 2, width // 2, 4 * channels)
        super().__init__(data_shape=squeezed, latent_shape=(height, width, channels), name=name)

    @property
    def changed_positions(self):
        return True  # Elsewhere, that is.

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        y = squeeze(x)
        return y, tf.zeros_like(y)

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        x = unsqueeze(y)
        return x, tf.zeros_like(x)


class Squeezed(NestedBijector):
    """Runs `inner` on the squeezed image, and puts the result back in the image's own layout.

        forward    y = unsqueeze(inner.forward(squeeze(x)))
        inverse    x = unsqueeze(inner.inverse(squeeze(y)))
        log-det    the terms of `inner`, unsqueezed (nats)

    The channel couplings of a flow layer run in one, and so does the next level of a flow from which
    nothing exits (split rule `none`). Shapes: `[..., h, w, c]`; `inner` sees `[..., h/2, w/2, 4c]`.

    Args:
        inner: bijector over events `[h/2, w/2, 4c]`.
        event_shape: `(h, w, c)`, h and w even.

    Example:
        ```python
        import tensorflow as tf
        import tensorflow_probability as tfp

        import lcma_tf

        of_each_corner = tfp.bijectors.Scale([1.0, 2.0, 3.0, 4.0])  # Over events [h/2, w/2, 4].
        squeezed = lcma_tf.bijectors.Squeezed(of_each_corner, event_shape=(2, 2, 1))
        y = squeezed.forward(tf.ones([1, 2, 2, 1]))
        assert y[0, ..., 0].numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
        ```
    """

    def __init__(self, inner: tfb.Bijector, event_shape: tuple[int, ...], name: str = "squeezed"):
        height, width, channels = _even(event_shape)
        super().__init__(inner, event_shape, (height // 2, width // 2, 4 * channels), name=name)

    def _enter(self, images):
        return squeeze(images), None

    def _leave(self, inner, outside):
        return unsqueeze(inner)


def _even(event_shape):
    shape = tuple(event_shape) if isinstance(event_shape, Iterable) else ()
    if len(shape) != 3 or not all(map(is_integer, shape)) or shape[0] % 2 or shape[1] % 2:
        raise ValueError(f"`event_shape` must be (h, w, c) with even h and w; got {event_shape}.")
    return shape
