"""Which rows of a batch each replica gets: replica r of n the r-th of n equal pieces, in order.

So that the row of an image in the global batch, which decides its noise (`replica_rows`), is the same
on any number of replicas and workers. TensorFlow's own sharding keeps that order on one worker only:
with several, it deals pieces out in turn.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from lcma_tf.config import ConfigError
from lcma_tf.data import evaluation_batches, gather_images
from lcma_tf.data.ahead import ahead

__all__ = ["distribute_evaluation", "distribute_training"]


def distribute_training(
    strategy: tf.distribute.Strategy, batches: tf.data.Dataset
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """Splits endless global batches, `[batch_size, ...]`, over the replicas.

    Every worker makes the whole batch, from the same seed, and keeps its own rows.

    Args:
        strategy: its replicas divide the batch size.
        batches: the same on every worker.
    """
    num_replicas = strategy.num_replicas_in_sync
    if num_replicas == 1:
        return batches

    def of_worker(context):
        mine = _local_replicas(context)

        def pieces(batch):
            split = tf.reshape(
                batch, [num_replicas, batch.shape[0] // num_replicas, *batch.shape[1:]]
            )
            return tf.data.Dataset.from_tensor_slices(split[mine.start : mine.stop])

        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return batches.flat_map(pieces).apply(endless).apply(ahead)

    return strategy.distribute_datasets_from_function(of_worker)


def distribute_evaluation(
    strategy: tf.distribute.Strategy, images: np.ndarray, batch_size: int
) -> tuple[tf.data.Dataset | tf.distribute.DistributedDataset, int]:
    """Every image once, over all replicas: what to iterate over, and the number of steps.

    Keras cannot count the steps itself: it takes the pieces of a worker for steps. Pieces differ by one
    image at most, and none is empty: there is work for all.

    Args:
        strategy: of the replicas.
        images: uint8 `[N, H, W, C]`, the same on every worker.
        batch_size: images a step, over all replicas.

    Raises:
        ConfigError: fewer images than replicas.
    """
    num_replicas = strategy.num_replicas_in_sync
    num_steps = -(-len(images) // batch_size)
    if num_replicas == 1:
        return evaluation_batches(images, batch_size), num_steps
    if len(images) < num_replicas:
        raise ConfigError(
            f"`num_devices` must be at most the number of validation images, {len(images)}; "
            f"got {num_replicas} over all workers."
        )
    num_steps = min(num_steps, len(images) // num_replicas)
    edges = np.arange(num_steps * num_replicas + 1) * len(images) // (num_steps * num_replicas)
    bounds = np.stack([edges[:-1], edges[1:]], -1).reshape(num_steps, num_replicas, 2)

    def of_worker(context):
        mine = bounds[:, _local_replicas(context)].reshape(-1, 2)
        pieces = tf.data.Dataset.from_tensor_slices(mine)
        pieces = pieces.map(lambda bound: gather_images(images, tf.range(bound[0], bound[1])))
        return pieces.apply(ahead)

    return strategy.distribute_datasets_from_function(of_worker), num_steps


def _local_replicas(context: tf.distribute.InputContext) -> slice:
    """The replicas of this worker among all, in their global order."""
    num_local = context.num_replicas_in_sync // context.num_input_pipelines
    first = context.input_pipeline_id * num_local
    return slice(first, first + num_local)
