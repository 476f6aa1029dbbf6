"""Bijectors over images whose primitive is *value and log-det terms together*.

TFP asks a bijector for its value and for its log-det in two calls, so a `TransformedDistribution`
runs every conditioner twice. Here one call gives both, and the log-det is not yet summed: its terms
keep the image's shape, one number for each dimension. Their mean is what LCMA decides by (Das et al.
2019, equation 9); their sum is what TFP gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf.bijectors.pass_options import PassOptions, check_options
from lcma_tf.bijectors.shape_checks import ensure_event_shape

__all__ = ["ForeignBijector", "ImageBijector", "as_image_bijector"]

tfb = tfp.bijectors
Pair = tuple[tf.Tensor, tf.Tensor]
Visit = Callable[["ImageBijector", tf.Tensor], tf.Tensor]


class ImageBijector(tfb.Bijector):
    """Base of all bijectors here: events `[H, W, C]`, any batch shape, value and terms in one go.

    A subclass defines two methods on `[N, H, W, C]` tensors; this class makes the four of TFP out of
    them, for any batch shape, such that `log_prob`, `sample` and `experimental_sample_and_log_prob`
    of a `TransformedDistribution` run them once:

        _forward_and_terms(x) -> y, terms     terms sum to log |det dy/dx|   (nats)
        _inverse_and_terms(y) -> x, terms     terms sum to log |det dx/dy|   (nats)

    Terms have the shape of the *returned* value. Keyword arguments (`PassOptions`) are handed on to
    every part. TFP remembers pairs of inputs and outputs: in eager mode, `inverse(y)` called
    again while its first result is alive returns that result even if weights have changed since; wrap
    such calls in a `tf.function`, as the methods of `FlowModel` are.

    Args:
        data_shape: static `(H, W, C)` of y, checked on every call; None = not checked.
        latent_shape: static shape of x; None = that of y.
        name: name scope.

    Raises:
        ValueError: an input does not have the stated event shape; where its static shape does not say,
            `tf.errors.InvalidArgumentError` when it runs.
        TypeError: a keyword argument is none of `PassOptions`.

    Example:
        ```python
        import tensorflow as tf
        import lcma_tf
        class Mirror(lcma_tf.bijectors.ImageBijector):
            def _forward_and_terms(self, x, **options):
                return tf.reverse(x, axis=[2]), tf.zeros_like(x)

            _inverse_and_terms = _forward_and_terms
        ```
    """

    # r where the latents of each pixel are made of its own channels by one matrix, and of pixels at most
    # r rows and columns away that come before it in raster order, as a probe may rely on: 0 of what acts
    # on each pixel by itself. None = it has no such structure.
    causal_reach: int | None = None

    def __init__(
        self,
        data_shape: tuple[int, ...] | None = None,
        latent_shape: tuple[int, ...] | None = None,
        name: str | None = None,
    ):
        # No `parameters`: TFP's cache is global and takes bijectors of equal parameters for the same
        # one, whatever their weights; without any, identity decides.
        super().__init__(forward_min_event_ndims=3, name=name)
        self._data_shape = data_shape
        self._latent_shape = data_shape if latent_shape is None else latent_shape

    def forward_and_terms(self, x: tf.Tensor, **options: Unpack[PassOptions]) -> Pair:
        """Latents `[..., h, w, c]` -> (data, terms of `forward_log_det_jacobian`), like shapes."""
        check_options(options)
        return self._on_flat_batch(self._forward_and_terms, x, self._latent_shape, **options)

    def inverse_and_terms(self, y: tf.Tensor, **options: Unpack[PassOptions]) -> Pair:
        """Data `[..., H, W, C]` -> (latents, terms of `inverse_log_det_jacobian`), like shapes."""
        check_options(options)
        return self._on_flat_batch(self._inverse_and_terms, y, self._data_shape, **options)

    @property
    def changed_positions(self) -> np.ndarray | bool | None:
        """Where `inverse` acts on each number by itself, given those that it keeps: bool `[H, W, C]`.

        True = everywhere (or it only puts numbers elsewhere). None = it has no such structure, or is
        made of others (`inverse_by_part`).
        """
        return None

    def inverse_by_part(self, y: tf.Tensor, visit: Visit) -> tf.Tensor:
        """`inverse` of `[N, H, W, C]`, with `visit(part, value)` in the place of each part's inverse.

        Parts are the bijectors that are not made of others, from the data to the latents, in whatever
        coordinates each of them runs.
        """
        return visit(self, y)

    def inverse_layer_values(self, y: tf.Tensor) -> list[tf.Tensor]:
        """What each flow layer makes of `[N, H, W, C]`, all in its coordinates; latents last."""
        return [self._inverse_and_terms(y)[0]]

    def _forward_and_terms(self, x: tf.Tensor, **options: Unpack[PassOptions]) -> Pair:
        raise NotImplementedError

    def _inverse_and_terms(self, y: tf.Tensor, **options: Unpack[PassOptions]) -> Pair:
        raise NotImplementedError

    def _inverse_and_layer_terms(
        self, y: tf.Tensor, **options: Unpack[PassOptions]
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Like `_inverse_and_terms`, the terms of each flow layer apart; most bijectors are in one."""
        x, terms = self._inverse_and_terms(y, **options)
        return x, [terms]

    # What TFP calls. The summed terms are left where TFP looks for a log-det that it knows already,
    # so that whichever of value and log-det it asks for first, the conditioners run once.

    def _forward(self, x, **options: Unpack[PassOptions]):
        y, terms = self.forward_and_terms(x, **options)
        self._cache.forward_attributes(x, **options)["ildj"] = -tf.reduce_sum(terms, [-3, -2, -1])
        return y

    def _inverse(self, y, **options: Unpack[PassOptions]):
        x, terms = self.inverse_and_terms(y, **options)
        self._cache.inverse_attributes(y, **options)["ildj"] = tf.reduce_sum(terms, [-3, -2, -1])
        return x

    def _inverse_log_det_jacobian(self, y, **options: Unpack[PassOptions]):
        attributes = self._cache.inverse_attributes(y, **options)
        if "ildj" not in attributes:
            self.inverse(y, **options)
        return attributes["ildj"]

    def _forward_event_shape(self, input_shape):
        return self._swapped_shape(input_shape, self._latent_shape, self._data_shape)

    def _inverse_event_shape(self, output_shape):
        return self._swapped_shape(output_shape, self._data_shape, self._latent_shape)

    def _swapped_shape(self, shape, expected, result):
        if expected is None:
            return shape
        _check_event_shape(self.name, shape, expected)
        return tf.TensorShape(result)

    def _on_flat_batch(
        self, function: Callable[..., Pair], value, event_shape, **options: Unpack[PassOptions]
    ) -> Pair:
        """Conditioners see `[N, H, W, C]`; this carries any other batch shape through."""
        value = tf.convert_to_tensor(value)
        rank = value.shape.rank
        if event_shape is not None:
            rule = f"{self.name}: the input must have event shape {event_shape}"
            value = ensure_event_shape(value, event_shape, rule)
        elif rank is None or rank < 3:
            raise ValueError(
                f"{self.name}: the input must have shape [..., H, W, C]; got {value.shape}."
            )
        if rank == 4:
            return function(value, **options)
        batch_shape = tf.shape(value)[:-3]
        event = value.shape[-3:] if event_shape is None else event_shape
        flat = tf.reshape(value, tf.concat([[-1], tf.shape(value)[-3:]], 0))
        flat = tf.ensure_shape(flat, [None, *event])
        results = function(flat, **options)
        static = tf.TensorShape(None) if rank is None else value.shape[:-3]
        return tuple(
            tf.ensure_shape(
                tf.reshape(result, tf.concat([batch_shape, tf.shape(result)[1:]], 0)),
                static.concatenate(result.shape[1:]),
            )
            for result in results
        )  # pyright: ignore[reportReturnType]


class ForeignBijector(ImageBijector):
    """Any other TFP bijector over images, its log-det spread evenly over the dimensions.

    A bijector that only states one log-det for the whole image says nothing of who contributed what.

    Args:
        bijector: maps `[H, W, C]` to the same shape.
        event_shape: `(H, W, C)`, checked on every call; None = not checked.

    Example:
        ```python
        import tensorflow_probability as tfp
        import lcma_tf
        tanh = lcma_tf.bijectors.ForeignBijector(tfp.bijectors.Tanh(), event_shape=(4, 4, 1))
        ```
    """

    def __init__(
        self,
        bijector: tfb.Bijector,
        event_shape: tuple[int, ...] | None = None,
        name: str | None = None,
    ):
        super().__init__(event_shape, name=name or bijector.name)
        self._bijector = bijector

    def _forward_and_terms(self, x, **options: Unpack[PassOptions]):
        y = self._bijector.forward(x)
        return y, _spread(self._bijector.forward_log_det_jacobian(x, event_ndims=3), y)

    def _inverse_and_terms(self, y, **options: Unpack[PassOptions]):
        x = self._bijector.inverse(y)
        return x, _spread(self._bijector.inverse_log_det_jacobian(y, event_ndims=3), x)


def as_image_bijector(bijector: tfb.Bijector, event_shape: tuple[int, ...]) -> ImageBijector:
    """Returns `bijector` as an `ImageBijector` over `event_shape`.

    Raises:
        ValueError: it is no bijector, or does not map `event_shape` to itself.
    """
    if not isinstance(bijector, tfb.Bijector):
        raise ValueError(f"`bijector` must be a tfb.Bijector; got {type(bijector).__name__}.")
    mapped = tuple(bijector.inverse_event_shape(tf.TensorShape(event_shape)))
    if mapped != tuple(event_shape):
        raise ValueError(
            f"`bijector` must map events {tuple(event_shape)} to the same shape; "
            f"{bijector.name!r} maps them to {mapped}."
        )
    if isinstance(bijector, ImageBijector):
        return bijector
    return ForeignBijector(bijector, tuple(event_shape))


def _check_event_shape(name, shape, expected) -> None:
    if not tf.TensorShape(shape).is_compatible_with(expected):
        raise ValueError(f"{name}: the input must have event shape {expected}; got {shape}.")


def _spread(log_det: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    size = tf.cast(tf.reduce_prod(tf.shape(value)[1:]), value.dtype)
    per_dimension = tf.reshape(log_det / size, [-1, 1, 1, 1])  # [1, ...] where it is a constant.
    return tf.broadcast_to(per_dimension, tf.shape(value))
