"""One row at a time: what a batch gives is then, to the bit, what each of its rows gives alone.

Kernels divide a batch into blocks, and what is left over at the end of a block is summed in another
order, or by another formula of `exp`. So the same image can score differently in its last bits in
batches of other sizes; a batch of one has but one size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

__all__ = ["row_by_row"]


def row_by_row(
    function: Callable[..., tf.Tensor], shape: Sequence[int], dtype: str | tf.DType
) -> Callable[..., tf.Tensor]:
    """Returns `function` with its first argument, a batch, handed over one row at a time.

    For graphs. Rows run one after another: together they would only share the processor, and take more
    memory.

    Args:
        function: `(batch [N, ...], *arguments) -> tensor [N, *shape]`, which treats rows independently.
        shape, dtype: of a row of the result.
    """

    def of_rows(batch, *arguments):
        return tf.map_fn(
            lambda row: tf.ensure_shape(function(row[None], *arguments), [1, *shape])[0],
            batch,
            fn_output_signature=tf.TensorSpec(shape, dtype),
            parallel_iterations=1,
        )

    return of_rows
