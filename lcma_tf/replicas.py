"""What the replicas of a `tf.distribute` strategy share: means over all of them, rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

__all__ = ["num_replicas", "replica_mean", "replica_rows"]


def num_replicas() -> int:
    """Replicas that run this code together; 1 outside `strategy.run`."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context is not None else 1


def replica_mean(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Means over the replicas, with gradients; the tensors themselves where there is but one.

    Batch moments go through here, so that the statistics of a step are those of the *global* batch
    and training on n devices is training on one.
    """
    if num_replicas() == 1:
        return list(tensors)
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, list(tensors))


def replica_rows(num_rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (rows of the global batch, the first of this replica), for `num_rows` rows on each."""
    if num_replicas() == 1:
        return num_rows, tf.zeros_like(num_rows)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return num_rows * num_replicas(), num_rows * tf.cast(replica, num_rows.dtype)
