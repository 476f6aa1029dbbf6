"""What the replicas of a `tf.distribute` strategy share: means over all rows, places in a batch.

Their pieces of a batch may be of any size. Keras cuts what it is given as it comes, so that of 17 images
in batches of 8 the last one is on the first of two replicas, and the other has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

__all__ = [
    "at_least_one_row",
    "gradient_by_rows",
    "num_replicas",
    "replica_mean",
    "replica_rows",
]


def num_replicas() -> int:
    """Replicas that run this code together; 1 outside `strategy.run`."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def replica_mean(
    values: tf.Tensor, axis: Sequence[int], weight: tf.Tensor | None = None
) -> tf.Tensor:
    """The mean of floating `values` over `axis`, the leading ones, and over all replicas.

    Batch moments go through here, so that the statistics of a step are those of the *global* batch
    and training on n devices is training on one. Every element counts the same, wherever it is.

    Args:
        values: one axis is left.
        axis: of the mean.
        weight: 1, or 0 where the values of this replica do not count (`at_least_one_row`); None = 1.
    """
    if num_replicas() == 1:
        return tf.reduce_mean(values, axis)
    total = tf.reduce_sum(values, axis)
    count = tf.cast(tf.size(values) // tf.size(total), values.dtype)
    total_and_count = tf.concat([total, count[None]], 0)  # One message for both.
    if weight is not None:
        total_and_count *= tf.cast(weight, values.dtype)
    total_and_count = _sum(total_and_count)
    return total_and_count[:-1] / total_and_count[-1]


def replica_rows(num_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (rows of the global batch, the first of this replica), for `num_rows` rows on this one."""
    if num_replicas() == 1:
        return num_rows, tf.zeros_like(num_rows)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    # Floats, which every reduction knows; exact up to 2**24 rows.
    mine = tf.one_hot(replica, num_replicas()) * tf.cast(num_rows, tf.float32)
    rows = tf.cast(_sum(mine), num_rows.dtype)
    before = tf.range(num_replicas()) < tf.cast(replica, tf.int32)
    return tf.reduce_sum(rows), tf.reduce_sum(tf.where(before, rows, 0))


def gradient_by_rows(rows: tf.Tensor) -> tf.Tensor:
    """`rows` `[n, ...]`, whose gradient is weighed by this replica's share of the global batch.

    Keras sums the gradients of the means of all replicas and divides by the number of replicas, which
    is the gradient of the global mean only if each has as many rows. The values stay what they are:
    what is shown weighs them by their rows already.
    """
    if num_replicas() == 1:
        return rows
    num_rows = tf.shape(rows)[0]
    share = num_rows * num_replicas() / replica_rows(num_rows)[0]

    @tf.custom_gradient
    def weigh(rows):
        return tf.identity(rows), lambda upstream: upstream * tf.cast(share, upstream.dtype)

    return weigh(rows)


def at_least_one_row(batch: tf.Tensor) -> tf.Tensor:
    """`batch` `[n, ...]`, or one row of zeros where a replica has got none.

    TensorFlow's fused convolutions fail on empty batches. What is computed of such a row must not count.
    """
    if num_replicas() == 1 or batch.shape[0]:
        return batch
    missing = tf.cast(tf.equal(tf.shape(batch)[0], 0), tf.int32)
    return tf.pad(batch, [[0, missing], *[[0, 0]] * (batch.shape.rank - 1)])


def _sum(tensor):
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)
