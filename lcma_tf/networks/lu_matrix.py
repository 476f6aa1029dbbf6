"""A trained matrix that stays invertible: two triangles and a permutation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["FrozenMatrix", "LUMatrix"]


@keras.saving.register_keras_serializable("lcma_tf")
class LUMatrix(keras.layers.Layer):
    """The matrix of an `InvertibleConv`, by its LU decomposition; it begins as a random rotation.

        W = P L (U + diag(sign * exp(log_s)))        log |det W| = sum(log_s)

    P is a permutation, L lower triangular with ones on its diagonal, U strictly upper triangular. P and
    sign are those of the rotation that W begins as, and stay; all else is trained, in one variable
    `[c, c]`: L below its diagonal, log_s on it, U above. So W is invertible whatever the weights are,
    and its determinant and inverse cost two triangles.

    W and its inverse are computed in float64 and rounded once, so that they fit one another in float32.

    Source: Kingma & Dhariwal 2018, section 3.2, equations 10 and 11.

    Args:
        channels: c.
        seed: of the rotation.

    Example:
        ```python
        import tensorflow as tf

        import lcma_tf

        weights = lcma_tf.networks.LUMatrix(channels=3, seed=7)
        product = tf.matmul(weights.matrix(), weights.inverse())
        assert tf.reduce_max(tf.abs(product - tf.eye(3))) < 1e-6
        ```
    """

    moves_moments = False  # A recalibration has no work here.

    def __init__(self, channels: int, *, seed: int | Sequence[int] = 0, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.seed = seed
        # Saved, though a seed decides them: another LAPACK may break a tie another way.
        permutation, factors, sign = _factors(_rotation(channels, seed))
        self.permutation = self._add("permutation", permutation, trainable=False)
        self.sign = self._add("sign", sign, trainable=False)
        self.factors = self._add("factors", factors)
        self.built = True

    def matrix(self) -> tf.Tensor:
        """W, `[c, c]`."""
        permutation, lower, upper = self._parts()
        return self._rounded(tf.matmul(permutation, tf.matmul(lower, upper)))

    def inverse(self) -> tf.Tensor:
        """The inverse of W, `[c, c]`, by two triangular solves."""
        permutation, lower, upper = self._parts()
        half = tf.linalg.triangular_solve(lower, tf.transpose(permutation))
        return self._rounded(tf.linalg.triangular_solve(upper, half, lower=False))

    def log_abs_det(self) -> tf.Tensor:
        """`log |det W|`, `[]`, nats."""
        return tf.linalg.trace(tf.convert_to_tensor(self.factors))

    def frozen(self, mixed_precision: bool = False) -> FrozenMatrix:
        """The matrix of now and its inverse; of the type of the density whatever is inside."""
        return FrozenMatrix(self)

    def _parts(self):
        """P, L and U with its diagonal, float64."""
        permutation, sign, factors = (
            tf.cast(tf.convert_to_tensor(variable), tf.float64)
            for variable in (self.permutation, self.sign, self.factors)
        )
        lower = tf.linalg.set_diag(tf.linalg.band_part(factors, -1, 0), tf.ones_like(sign))
        diagonal = sign * tf.exp(tf.linalg.diag_part(factors))
        return permutation, lower, tf.linalg.set_diag(tf.linalg.band_part(factors, 0, -1), diagonal)

    def _rounded(self, matrix):
        return tf.cast(matrix, self.variable_dtype)

    def _add(self, name: str, value: np.ndarray, **options: Any):
        def initializer(shape, dtype):
            return tf.cast(value, dtype)

        return self.add_weight(shape=value.shape, initializer=initializer, name=name, **options)

    def get_config(self):
        return {**super().get_config(), "channels": self.channels, "seed": self.seed}


class FrozenMatrix(tf.Module):
    """An `LUMatrix` with the weights it has now: W and its inverse, computed once."""

    def __init__(self, weights: LUMatrix):
        super().__init__(name=weights.name)
        self._matrix, self._inverse, self._log_abs_det = (
            tf.Variable(value, trainable=False)
            for value in (weights.matrix(), weights.inverse(), weights.log_abs_det())
        )

    def matrix(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._matrix)

    def inverse(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._inverse)

    def log_abs_det(self) -> tf.Tensor:
        return tf.convert_to_tensor(self._log_abs_det)


def _rotation(channels: int, seed: int | Sequence[int]) -> np.ndarray:
    """An orthogonal matrix, all alike: `[c, c]`, float64."""
    normal = np.random.default_rng(seed).normal(size=(channels, channels))
    rotation, upper = np.linalg.qr(normal)
    return rotation * np.sign(np.diag(upper))  # QR alone prefers some.


def _factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P, the trained variable and the signs of a matrix, by elimination with row pivots."""
    size = len(matrix)
    rows, packed = np.arange(size), matrix.copy()
    for i in range(size):
        pivot = i + int(np.argmax(np.abs(packed[i:, i])))
        packed[[i, pivot]], rows[[i, pivot]] = packed[[pivot, i]], rows[[pivot, i]]
        packed[i + 1 :, i] /= packed[i, i]
        packed[i + 1 :, i + 1 :] -= np.outer(packed[i + 1 :, i], packed[i, i + 1 :])
    diagonal = np.diag(packed).copy()
    np.fill_diagonal(packed, np.log(np.abs(diagonal)))
    # matrix[rows] = L U, so that P puts row i of the product in place rows[i].
    return np.eye(size)[:, rows], packed, np.sign(diagonal)
