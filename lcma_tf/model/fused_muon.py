"""Muon for the kernels of convolutions, Adam for everything else."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from lcma_tf.model.fused_adam import FusedAdam

__all__ = ["FusedMuon", "orthogonalized"]

# Of the quintic whose iterates bring singular values from (0, 1] near 1 in five steps.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_NUM_ITERATIONS = 5
# Root mean square of a step at learning rate 1. Twice that of the source, which is Adam's: the norm of a
# weight-normalized kernel does not matter, only how far it turns.
_SIZE = 0.4


@keras.saving.register_keras_serializable("lcma_tf")
class FusedMuon(FusedAdam):
    """Steps of orthogonal matrices for the kernels of convolutions; `FusedAdam` for all else.

    A kernel `[..., h, w, c_in, c_out]` is a matrix of h w c_in rows and c_out columns, or a stack of
    such. The moving average of a matrix's gradients is replaced by a matrix near the closest one with
    orthonormal columns (or rows), about as long as a large step of Adam's, so that one learning rate
    serves both. A direction in which gradients are small then counts as much as any other.

    `keras.optimizers.Muon` leaves what has more than two dimensions, hence all convolutions, to AdamW.
    Clipping, `use_ema`, `first_step` and gradients that are not finite are as in `FusedAdam`.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the length of
    a step: Liu et al. 2025 (arXiv 2502.16982), section 2.2.

    Args: those of `FusedAdam`, and

        momentum: of the moving average, in Nesterov's form.
    """

    def __init__(self, *args, momentum: float = 0.95, **kwargs):
        super().__init__(*args, **kwargs)
        self.momentum = momentum

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}

    def _distributed_tf_update_step(self, distribution, grads_and_vars, learning_rate):
        together: dict[tuple[int, int], list[tuple]] = {}
        others = []
        for gradient, variable in grads_and_vars:
            if len(variable.shape) < 4:
                others.append((gradient, variable))
            else:
                together.setdefault(_matrix(variable.shape), []).append((gradient, variable))
        super()._distributed_tf_update_step(distribution, others, learning_rate)
        for alike in together.values():
            gradients, variables = zip(*alike, strict=True)
            momentums = [self._momentums[self._get_variable_index(v)].value for v in variables]
            distribution.extended.update(
                variables[0],
                _step,
                args=(variables, momentums, gradients, learning_rate, self.momentum),
                group=False,
            )


def _step(_, variables, momentums, gradients, learning_rate, momentum) -> None:
    """One step of kernels that are matrices of one shape, all of them at once."""
    shape = _matrix(variables[0].shape)
    smooth = []
    for average, gradient in zip(momentums, gradients, strict=True):
        gradient = tf.cast(gradient, average.dtype)
        moved = average + (gradient - average) * (1 - momentum)
        average.assign(moved, read_value=False)
        smooth.append(tf.reshape(gradient + (moved - gradient) * momentum, [-1, *shape]))
    steps = orthogonalized(tf.concat(smooth, 0))
    steps *= tf.cast(learning_rate, steps.dtype) * (_SIZE * math.sqrt(max(shape)))
    parts = tf.split(steps, [part.shape[0] for part in smooth])
    for variable, part in zip(variables, parts, strict=True):
        variable.assign_sub(tf.reshape(part, variable.shape), read_value=False)


def orthogonalized(matrices: tf.Tensor) -> tf.Tensor:
    """Of matrices `[n, rows, columns]` others of the same singular vectors, with singular values near 1.

    That is 0.6 to 1.25, where they were at least a hundredth of the matrix's norm. Zeros stay zeros.
    """
    # Of a network that has no gradient any more the average decays until its squares are no numbers of
    # float32: the norm would miss them, and the polynomials below diverge. A power of 2 rounds nothing.
    largest = tf.reduce_max(tf.abs(matrices), axis=[-2, -1], keepdims=True)
    matrices = tf.where(largest < 1e-15, matrices * 2.0**100, matrices)
    norms = tf.norm(matrices, axis=[-2, -1], keepdims=True)
    matrices = tf.math.divide_no_nan(matrices, norms)
    # All polynomials of one Gram matrix, of the shorter side, commute: the long side is met twice only.
    is_tall = matrices.shape[-2] >= matrices.shape[-1]
    gram = tf.matmul(matrices, matrices, transpose_a=is_tall, transpose_b=not is_tall)
    first, second, third = _QUINTIC
    identity = tf.eye(gram.shape[-1], dtype=gram.dtype)
    product = None
    for iteration in range(_NUM_ITERATIONS):
        factor = first * identity + second * gram + third * tf.matmul(gram, gram)
        product = factor if product is None else tf.matmul(product, factor)
        if iteration < _NUM_ITERATIONS - 1:
            gram = tf.matmul(tf.matmul(factor, gram), factor)
    return tf.matmul(matrices, product) if is_tall else tf.matmul(product, matrices)


def _matrix(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the matrices in a kernel of this shape."""
    return math.prod(shape[-4:-1]), shape[-1]
