"""Batches as a pure function of (seed, step), so that a resumed run sees what it would have seen.

Only indices are shuffled and skipped; an image is touched in the step that uses it. Epoch `e` takes
steps `e * (n // batch_size)` and on, in a permutation that depends on the seed and `e` alone.

Pixels stay in the one NumPy array that the loader filled or mapped, from which NumPy gathers each
batch. As a tensor TensorFlow would hold them two or three times over: 47 GB for ImageNet at 64x64
instead of 16.
"""

import numpy as np
import tensorflow as tf

from lcma_tf.data.ahead import AHEAD, ahead
from lcma_tf.data.cache.rows import row_reader
from lcma_tf.data.image_data import DataError, is_count


def training_batches(
    images: np.ndarray, batch_size: int, seed: int, start_step: int = 0, flip: bool = False
) -> tf.data.Dataset:
    """Endless shuffled batches; the last partial batch of an epoch is dropped.

    Args:
        images: uint8 or float32 `[n, H, W, C]`, in main memory or mapped, and not copied.
        batch_size: images a batch, over all replicas; at most `n`.
        seed: chooses the permutations and flips.
        start_step: the first batch's step. `training_batches(..., start_step=s)` gives what
            `training_batches(...)` gives from its batch `s` on, at no cost for the steps skipped.
        flip: mirror each image left to right with probability 1/2.

    Returns:
        A dataset of infinite cardinality with elements `[batch_size, H, W, C]` of the images' dtype,
        their values unchanged. It may be given to `MirroredStrategy.experimental_distribute_dataset`.

    Raises:
        DataError: images of another type or rank, fewer than `batch_size` of them, a negative
            `start_step`, or a seed that is no integer.
    """
    check_training_batches(images, batch_size)
    steps_per_epoch = len(images) // batch_size
    if not is_count(start_step, 0):
        raise DataError(f"`start_step` must be an integer of at least 0; got {start_step!r}")
    if not is_count(seed, -(2**63)):
        raise DataError(f"`seed` must be one integer; got {seed!r}")
    # Two streams of random numbers, lest an image's flip tell of its place in the shuffle.
    shuffle_seed, flip_seed = tf.unstack(
        tf.random.experimental.stateless_split(tf.constant([seed, 0], tf.int64), num=2)
    )

    def epoch_indices(epoch):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(images)), tf.random.experimental.stateless_fold_in(shuffle_seed, epoch)
        )
        batches = tf.reshape(order[: steps_per_epoch * batch_size], [steps_per_epoch, batch_size])
        return tf.data.Dataset.from_tensor_slices(batches)

    def batch_at(step, indices):
        batch = gather_images(images, indices)
        if flip:
            step_seed = tf.random.experimental.stateless_fold_in(flip_seed, step)
            mirrored = tf.random.stateless_uniform([batch_size, 1, 1, 1], step_seed) < 0.5
            batch = tf.where(mirrored, tf.reverse(batch, axis=[2]), batch)
        return tf.ensure_shape(batch, [batch_size, *images.shape[1:]])

    indices = tf.data.Dataset.counter(start_step // steps_per_epoch).flat_map(epoch_indices)
    indices = indices.skip(start_step % steps_per_epoch)
    batches = indices.enumerate(start_step).map(
        batch_at, num_parallel_calls=AHEAD, deterministic=True
    )
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    return batches.apply(endless).apply(ahead)


def check_training_batches(images: np.ndarray, batch_size: int) -> None:
    """Raises the `DataError` that `training_batches` would, before anything is built."""
    _check(images, batch_size)
    if batch_size > len(images):
        raise DataError(
            f"`batch_size` must be at most the number of images, {len(images)}; got {batch_size}"
        )


def evaluation_batches(images: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Every image once and in order: `[batch_size, H, W, C]` as they are, the last batch smaller.

    Raises:
        DataError: images of another type or rank, or a `batch_size` below 1.
    """
    _check(images, batch_size)
    batches = tf.data.Dataset.range(len(images)).batch(batch_size)
    batches = batches.map(lambda indices: gather_images(images, indices))
    return batches.apply(ahead)


def batch_spec(images: np.ndarray) -> tf.TensorSpec:
    """What those batches have in common, the smaller last one too: a function of it is traced once.

    Raises:
        DataError: images of another type or rank.
    """
    _check(images)
    return tf.TensorSpec([None, *images.shape[1:]], images.dtype)


def check_some_images(images: np.ndarray) -> None:
    """Raises `DataError` unless those batches can be made of `images`, and there is one at least."""
    _check(images)
    if not len(images):
        raise DataError(f"`images` must hold at least one image; got {list(images.shape)}")


def gather_images(images: np.ndarray, indices: tf.Tensor) -> tf.Tensor:
    """The images `[len(indices), H, W, C]` at `indices`, in a graph of tf.data."""
    batch = tf.numpy_function(
        row_reader(images), [indices], tf.as_dtype(images.dtype), stateful=False
    )
    return tf.ensure_shape(batch, [None, *images.shape[1:]])


def _check(images: np.ndarray, batch_size: int = 1) -> None:
    rule = "`images` must be a uint8 or float32 array of shape [N, H, W, C]"
    if not isinstance(images, np.ndarray):
        raise DataError(f"{rule}; got {type(images).__name__}")
    if images.dtype not in (np.uint8, np.float32) or images.ndim != 4:
        raise DataError(f"{rule}; got {images.dtype} {list(images.shape)}")
    if not is_count(batch_size):
        raise DataError(f"`batch_size` must be an integer of at least 1; got {batch_size!r}")
