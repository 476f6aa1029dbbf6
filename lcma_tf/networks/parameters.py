"""What the last convolution of a conditioner says of each number that a coupling changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

__all__ = ["beside", "parameter_places", "split_parameters"]

Initializer = Callable[..., tf.Tensor]


def split_parameters(output: tf.Tensor, num_parameters: int) -> tuple[tf.Tensor, ...]:
    """Takes apart shift, raw log-scale and, where there are more than two parameters, the curve.

    Args:
        output: `[N, h, w, num_parameters * c]`: shifts of all c channels, raw log-scales of all, then
            the other numbers of the first, of the second, ...
        num_parameters: at least 2.

    Returns:
        (shift, raw) of `[N, h, w, c]`, or (shift, raw, curve) with the last
        `[N, h, w, c, num_parameters - 2]`.
    """
    if num_parameters == 2:
        return tuple(tf.split(output, 2, axis=-1))
    number = num_parameters - 2
    channels = output.shape[-1] // num_parameters
    shift, raw, curve = tf.split(output, [channels, channels, number * channels], axis=-1)
    curve = tf.reshape(curve, tf.concat([tf.shape(shift), [number]], 0))
    return shift, raw, tf.ensure_shape(curve, [*shift.shape, number])


def parameter_places(channels: np.ndarray, num_channels: int, num_parameters: int) -> np.ndarray:
    """Where in the last axis of `output`, above, the numbers of these channels are, in the same order.

    Args:
        channels: int array, of `num_channels` channels those that are meant.
        num_parameters: at least 2.
    """
    number = num_parameters - 2
    curves = channels[:, None] * number + np.arange(number)
    return np.concatenate([channels, num_channels + channels, 2 * num_channels + curves.ravel()])


def beside(first: Initializer, number: int, second: Initializer) -> Initializer:
    """The initializer that draws the first `number` entries of the last axis as `first` alone would.

    So a network of more parameters begins with the shifts and log-scales of one without.
    """

    def draw(shape: Sequence[int], dtype=None, **options) -> tf.Tensor:
        begin, rest = (*shape[:-1], number), (*shape[:-1], shape[-1] - number)
        parts = [first(begin, dtype=dtype, **options)]
        if rest[-1]:
            parts.append(second(rest, dtype=dtype, **options))
        return tf.concat(parts, -1)

    return draw
