"""Bijectors one after the other, their terms summed dimension by dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from lcma_tf.bijectors.base import ImageBijector, as_image_bijector, tfb
from lcma_tf.bijectors.pass_options import PassOptions, check_options

__all__ = ["FlowLayer", "ImageChain"]


class ImageChain(ImageBijector):
    """Composition in TFP's order: the last of `bijectors` is next to the latents.

        forward    y = bijectors[0].forward(... bijectors[-1].forward(x))
        inverse    x = bijectors[-1].inverse(... bijectors[0].inverse(y))
        log-det    the terms of all, added dimension by dimension (nats)

    Unlike `tfb.Chain` it keeps the terms apart by dimension. Shapes: `[..., H, W, C]` throughout.

    Args:
        bijectors: at least one; foreign ones are accepted (`ForeignBijector`).
        event_shape: `(H, W, C)`.

    Example:
        ```python
        import tensorflow as tf
        import tensorflow_probability as tfp

        import lcma_tf

        parts = [lcma_tf.bijectors.PixelLogit(), tfp.bijectors.Scale(2.0)]
        chain = lcma_tf.bijectors.ImageChain(parts, event_shape=(4, 4, 1))
        x, terms = chain.inverse_and_terms(tf.fill([5, 4, 4, 1], 100.0))
        assert x.shape == terms.shape == (5, 4, 4, 1)
        ```
    """

    def __init__(
        self,
        bijectors: Sequence[tfb.Bijector],
        event_shape: tuple[int, ...],
        name: str | None = None,
    ):
        super().__init__(event_shape, name=name)
        self._bijectors = [as_image_bijector(bijector, event_shape) for bijector in bijectors]
        if not self._bijectors:
            raise ValueError("`bijectors` must hold at least one bijector; got none.")

    def inverse_by_part(self, y, visit):
        for bijector in self._bijectors:
            y = bijector.inverse_by_part(y, visit)
        return y

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        value, terms = x, []
        for bijector in reversed(self._bijectors):
            value, term = bijector._forward_and_terms(value, **options)
            terms.append(term)
        return value, sum(terms[1:], terms[0])

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        value, terms = y, []
        for bijector in self._bijectors:
            value, term = bijector._inverse_and_terms(value, **options)
            terms.append(term)
        return value, sum(terms[1:], terms[0])


class FlowLayer(ImageBijector):
    """One flow layer, then the rest of the flow: where one entry of equation 9's sum ends.

        forward    y = layer.forward(rest.forward(x))
        inverse    x = rest.inverse(layer.inverse(y))
        log-det    the terms of both (nats); `inverse_and_layer_terms` keeps them apart

    A multi-scale flow is these, nested: `rest` is a `LikelihoodContributionSplit` (or, where nothing
    exits, a `Squeezed`) around the next `FlowLayer`.

    Args:
        layer: the bijector of this layer, events `event_shape`.
        rest: the bijector of all later layers, in the same coordinates; None = this is the last.
        event_shape: `(H, W, C)`.

    Example:
        ```python
        import tensorflow as tf
        import tensorflow_probability as tfp

        import lcma_tf

        shape, scale = (4, 4, 1), tfp.bijectors.Scale(2.0)
        last = lcma_tf.bijectors.FlowLayer(scale, None, shape)
        flow = lcma_tf.bijectors.FlowLayer(scale, last, shape)
        latents, layers = flow.inverse_and_layer_terms(tf.ones([5, *shape]))
        assert len(layers) == 2 and tf.reduce_all(latents == 0.25)
        ```
    """

    def __init__(
        self,
        layer: tfb.Bijector,
        rest: tfb.Bijector | None,
        event_shape: tuple[int, ...],
        name: str | None = None,
    ):
        super().__init__(event_shape, name=name)
        self._layer = as_image_bijector(layer, event_shape)
        self._rest = None if rest is None else as_image_bijector(rest, event_shape)

    def inverse_and_layer_terms(self, y, **options: Unpack[PassOptions]):
        """Data `[N, H, W, C]` -> (latents, [terms of layer 1, layer 2, ...]), all of that shape."""
        check_options(options)
        return self._inverse_and_layer_terms(y, **options)

    def inverse_by_part(self, y, visit):
        hidden = self._layer.inverse_by_part(y, visit)
        return hidden if self._rest is None else self._rest.inverse_by_part(hidden, visit)

    def inverse_layer_values(self, y):
        hidden, _ = self._layer._inverse_and_terms(y)
        later = [] if self._rest is None else self._rest.inverse_layer_values(hidden)
        return [hidden, *later]

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        if self._rest is None:
            return self._layer._forward_and_terms(x, **options)
        hidden, rest_terms = self._rest._forward_and_terms(x, **options)
        y, terms = self._layer._forward_and_terms(hidden, **options)
        return y, terms + rest_terms

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        x, layers = self._inverse_and_layer_terms(y, **options)
        return x, sum(layers[1:], layers[0])

    def _inverse_and_layer_terms(self, y, **options: Unpack[PassOptions]):
        hidden, terms = self._layer._inverse_and_terms(y, **options)
        if self._rest is None:
            return hidden, [terms]
        x, later = self._rest._inverse_and_layer_terms(hidden, **options)
        return x, [terms, *later]
