"""The affine coupling: what the mask keeps decides how the rest is scaled and shifted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector
from lcma_tf.bijectors.checked_mask import checked_mask
from lcma_tf.bijectors.pass_options import PassOptions
from lcma_tf.factorization.masks import selects_channels

__all__ = ["AffineCoupling"]

Conditioner = Callable[..., tuple[tf.Tensor, ...]]


class AffineCoupling(ImageBijector):
    """Affine coupling of RealNVP under any boolean mask, True = unchanged and conditions the rest.

        shift, log_scale = conditioner(kept)
        forward    y[~mask] = x[~mask] * exp(-log_scale) - shift       y[mask] = x[mask]
        inverse    x[~mask] = (y[~mask] + shift) * exp(log_scale)      x[mask] = y[mask]
        log-det    inverse: log_scale at ~mask, 0 elsewhere; forward: its negative (nats)

    Note the direction: `log_scale` maps data to latents, as in the RealNVP program; TFP's own RealNVP
    says `y = x * exp(log_scale) + shift`. Shapes: x, y and terms `[..., h, w, c]`.

    Two kinds of mask, told apart by themselves. One that is the same at every pixel selects *channels*:
    `kept` is `[N, h, w, number kept]`, and the conditioner returns the changed channels alone. Any
    other (a checkerboard) selects *pixels*: `kept` is the whole image with zeros at the changed
    positions, and the conditioner returns all channels, of which those at unchanged positions are
    dropped.

    Source: Dinh et al. 2016, sections 3.2 and 3.4, equations 7 and 8.

    Args:
        mask: bool array `[h, w, c]` with at least one True and one False.
        conditioner: callable `kept, **options -> (shift, log_scale)`: a Keras layer, a `tf.Module` or a
            plain function; of `PassOptions` it is given those that the bijector is. It runs once in
            either direction. Variables of a Keras layer appear among this bijector's own; one that is
            not built yet is built here, by an image of zeros.

    Attributes:
        num_parameters: how many numbers a conditioner says of each position that changes: here 2.

    Raises:
        ValueError: `mask` is no such array, or keeps or changes everything.

    Example:
        ```python
        import numpy as np
        import tensorflow as tf

        import lcma_tf

        mask = np.indices((4, 4)).sum(axis=0)[..., None] % 2 == 0  # A checkerboard.


        def conditioner(kept):
            return tf.sin(kept), tf.tanh(tf.reduce_mean(kept, axis=[1, 2], keepdims=True) + kept)


        coupling = lcma_tf.bijectors.AffineCoupling(mask, conditioner)
        y = tf.random.stateless_normal([5, 4, 4, 1], seed=(0, 1))
        x = coupling.inverse(y)
        assert (tf.boolean_mask(x, mask, axis=1) == tf.boolean_mask(y, mask, axis=1)).numpy().all()
        ```
    """

    num_parameters = 2

    def __init__(self, mask: np.ndarray, conditioner: Conditioner, name: str = "affine_coupling"):
        mask = checked_mask(mask)
        if mask.all() or not mask.any():
            raise ValueError(
                "`mask` must keep some positions and change others; "
                f"got {np.count_nonzero(mask)} of {mask.size} True."
            )
        super().__init__(mask.shape, name=name)
        self.mask = mask.copy()
        self.mask.setflags(write=False)
        # Not tracked: a Keras layer reachable from a SavedModel is saved broken (every run fails).
        self._conditioner: Conditioner = self._no_dependency(conditioner)
        self._selects_channels = selects_channels(mask)
        if not getattr(conditioner, "built", True):
            with tf.init_scope():
                dtype = getattr(conditioner, "compute_dtype", tf.float32)
                conditioner(self._kept(tf.zeros([1, *mask.shape], dtype)))
        self._conditioner_variables = tf_variables(conditioner)

    @property
    def changed_positions(self):
        return ~self.mask

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        shift, log_scale = self._shift_and_log_scale(x, **options)
        return x * tf.exp(-log_scale) - shift, -log_scale

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        shift, log_scale = self._shift_and_log_scale(y, **options)
        return (y + shift) * tf.exp(log_scale), log_scale

    def _shift_and_log_scale(self, images, **options: Unpack[PassOptions]):
        """Both over the whole image `[N, h, w, c]`, zero where the mask is True."""
        shift, log_scale = self._conditioner(self._kept(images), **options)
        return self._over_image(shift, log_scale)

    def _over_image(self, *parts):
        """Of a conditioner's answers, each with zeros where the mask is True: `[N, h, w, c]`."""
        if not self._selects_channels:
            changed = tf.constant(~self.mask, parts[0].dtype)
            return tuple(part * changed for part in parts)
        kept_channels = self.mask[0, 0]
        return tuple(_put(part, kept_channels) for part in parts)

    def _kept(self, images):
        """What the conditioner sees of them."""
        if self._selects_channels:
            return _take(images, self.mask[0, 0])
        return images * tf.constant(self.mask, images.dtype)


def tf_variables(network: Any) -> list[tf.Variable]:
    """The variables of a Keras layer as TensorFlow sees them; none for anything else.

    A bijector is a `tf.Module`, and to one Keras 3's own variables are invisible.
    """
    variables = [getattr(v, "value", None) for v in getattr(network, "variables", ())]
    return [v for v in variables if isinstance(v, tf.Variable)]


def places(kept: np.ndarray) -> np.ndarray:
    """Of each entry its place among those that are False; behind these all for those that are True."""
    return np.where(kept, np.count_nonzero(~kept), np.cumsum(~kept) - 1).astype(np.int32)


def _take(images: tf.Tensor, channels: np.ndarray) -> tf.Tensor:
    indices = np.flatnonzero(channels)
    if indices[-1] - indices[0] + 1 == indices.size:
        return images[..., indices[0] : indices[-1] + 1]
    return tf.gather(images, indices, axis=-1)


def _put(changed: tf.Tensor, kept_channels: np.ndarray) -> tf.Tensor:
    """Puts the channels that are False in `kept_channels` in their places, zeros in the others."""
    indices = np.flatnonzero(~kept_channels)
    before, after = int(indices[0]), int(kept_channels.size - 1 - indices[-1])
    if indices.size + before + after == kept_channels.size:
        return tf.pad(changed, [[0, 0], [0, 0], [0, 0], [before, after]])
    padded = tf.pad(changed, [[0, 0], [0, 0], [0, 0], [0, 1]])
    return tf.gather(padded, places(kept_channels), axis=-1)
