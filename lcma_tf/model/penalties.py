"""What the regularizers of a flow's weights add to its loss, in few ops."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import tensorflow as tf

__all__ = ["penalties"]


def penalties(variables: Iterable[keras.Variable]) -> list[tf.Tensor]:
    """Scalars that add up to the regularization of `variables`.

    Those with the same L2 coefficient are one sum; whoever has another regularizer is asked alone.
    """
    squares: dict[float, list[tf.Tensor]] = {}
    others = []
    for variable in variables:
        regularizer = variable.regularizer
        if type(regularizer) is keras.regularizers.L2:
            # TensorFlow's own norm is half of Keras', and its gradient one op.
            halves = squares.setdefault(float(regularizer.l2), [])
            halves.append(tf.nn.l2_loss(tf.convert_to_tensor(variable)))
        elif regularizer is not None:
            others.append(regularizer(variable))
    return [2 * l2 * tf.add_n(halves) for l2, halves in squares.items()] + others
