"""What a split and a squeeze have in common: an inner flow in other coordinates."""

from __future__ import annotations

from typing import Any, Unpack

import tensorflow as tf

from lcma_tf.bijectors.base import ImageBijector, as_image_bijector, tfb
from lcma_tf.bijectors.pass_options import PassOptions

__all__ = ["NestedBijector"]


class NestedBijector(ImageBijector):
    """Carries an image into `inner`'s coordinates and the result back; terms travel with the values.

        value      _leave(inner(_enter(value)), what stayed outside)
        log-det    _leave(terms of `inner`, zeros outside)   (nats)

    Args:
        inner: bijector over events `inner_shape`; a foreign one's log-det is spread evenly.
        event_shape: `(h, w, c)` outside.
        inner_shape: the shape that `_enter` makes of it.
    """

    def __init__(
        self,
        inner: tfb.Bijector,
        event_shape: tuple[int, ...],
        inner_shape: tuple[int, ...],
        name: str | None = None,
    ):
        super().__init__(tuple(event_shape), name=name)
        self._inner = as_image_bijector(inner, inner_shape)

    @property
    def inner(self) -> ImageBijector:
        """The bijector that this one runs in other coordinates."""
        return self._inner

    def inverse_by_part(self, y, visit):
        inner, outside = self._enter(y)
        return self._leave(self._inner.inverse_by_part(inner, visit), outside)

    def inverse_layer_values(self, y):
        inner, outside = self._enter(y)
        return [self._leave(value, outside) for value in self._inner.inverse_layer_values(inner)]

    def _enter(self, images: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """`[N, h, w, c]` -> (what `inner` sees, what stays outside, or None)."""
        raise NotImplementedError

    def _leave(self, inner: tf.Tensor, outside: Any) -> tf.Tensor:
        """The inverse of `_enter`."""
        raise NotImplementedError

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        inner, outside = self._enter(x)
        inner, terms = self._inner._forward_and_terms(inner, **options)
        return self._leave(inner, outside), self._leave(terms, _zeros(outside))

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        x, layers = self._inverse_and_layer_terms(y, **options)
        return x, sum(layers[1:], layers[0])

    def _inverse_and_layer_terms(self, y, **options: Unpack[PassOptions]):
        inner, outside = self._enter(y)
        inner, layers = self._inner._inverse_and_layer_terms(inner, **options)
        return self._leave(inner, outside), [self._leave(t, _zeros(outside)) for t in layers]


def _zeros(outside):
    return None if outside is None else tf.zeros_like(outside)
