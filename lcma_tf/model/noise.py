"""Streams of random numbers: the same seed gives unrelated noise in each."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from lcma_tf.config import require
from lcma_tf.integers import is_integer

__all__ = ["MOMENTS", "SAMPLE", "SCORE", "TRAIN", "check_seed", "stateless_seed"]

SCORE, SAMPLE, TRAIN, MOMENTS = 0, 1, 2, 3


def check_seed(seed: Any) -> None:
    """Raises `ConfigError` unless `seed` is one integer; what a graph computes is not looked at."""
    if not tf.is_tensor(seed):
        fits = is_integer(seed) and -(2**31) <= seed < 2**31
        require(fits, "seed", "one integer of 32 bits (pairs are for `distribution`)", seed)


def stateless_seed(stream: int, seed, index) -> tf.Tensor:
    """A seed of TensorFlow's stateless ops: for draw `index` of one stream under a user's seed."""
    pair = tf.stack([tf.cast(seed, tf.int32), tf.constant(stream, tf.int32)])
    return tf.random.experimental.stateless_fold_in(pair, tf.cast(index, tf.int32), alg="philox")
