"""The shape of images whose static shape is unknown: checked when they come, and known from there on.

What `tf.io.decode_png` makes in a `tf.data` pipeline is of the shape `[None, None, None]`, which fits
any event shape until it runs. Grey images then broadcast against the noise and the masks of a flow of
colours, and get a score.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

__all__ = ["ensure_event_shape"]


def ensure_event_shape(
    images: tf.Tensor, event_shape: Sequence[int], rule: str, rank: int | None = None
) -> tf.Tensor:
    """Returns `images` `[..., H, W, C]` with their event shape known statically.

    Costs no op where it is known already. Only of unknown rank, and with no `rank` given, the result is
    as unknown as `images`, but checked.

    Args:
        images: any tensor.
        event_shape: `(H, W, C)`.
        rule: what an error says before `; got` and the shape.
        rank: that `images` must have; None = 3 or more.

    Raises:
        ValueError: the static shape breaks the rule.
        tf.errors.InvalidArgumentError: when it runs, another shape has come.
    """
    static = images.shape
    if static.rank is None:
        whole = tf.TensorShape(None if rank is None else [*[None] * (rank - 3), *event_shape])
    else:
        whole = static[: max(static.rank - 3, 0)].concatenate(event_shape)
        if (rank or max(static.rank, 3)) != static.rank or not static.is_compatible_with(whole):
            raise ValueError(f"{rule}; got {static.as_list()}.")
        if static[-3:].is_fully_defined():
            return images
    shape = tf.shape(images)
    # Three places before the shape: one that is too short then differs, and is no error of its own.
    last = tf.concat([[-1, -1, -1], shape], 0)[-3:]
    right = tf.reduce_all(tf.equal(last, tf.constant(event_shape, tf.int32)))
    if rank is not None:
        right &= tf.equal(tf.size(shape), rank)
    check = tf.debugging.Assert(
        right, [f"{rule}; got", shape], summarize=8
    )  # Numbers of the shape.
    with tf.control_dependencies([check]):
        # XLA drops assertions, but not this one.
        return tf.ensure_shape(images, whole)
