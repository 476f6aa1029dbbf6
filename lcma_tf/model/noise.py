"""Streams of random numbers: the same seed gives unrelated noise in each."""

from __future__ import annotations

import tensorflow as tf

__all__ = ["MOMENTS", "SAMPLE", "SCORE", "TRAIN", "stateless_seed"]

SCORE, SAMPLE, TRAIN, MOMENTS = 0, 1, 2, 3


def stateless_seed(stream: int, seed, index) -> tf.Tensor:
    """A seed of TensorFlow's stateless ops: for draw `index` of one stream under a user's seed."""
    pair = tf.stack([tf.cast(seed, tf.int32), tf.constant(stream, tf.int32)])
    return tf.random.experimental.stateless_fold_in(pair, tf.cast(index, tf.int32), alg="philox")
