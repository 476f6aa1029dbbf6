"""The bound of an image's log-probability that several draws of the noise give (Burda et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

__all__ = ["importance_weighted"]


def importance_weighted(
    log_prob: Callable[[tf.Tensor], tf.Tensor], draws: tf.Tensor, dtype: str | tf.DType
) -> tf.Tensor:
    """`log mean_k exp log_prob(draws[k])`, `[N]`, in nats.

    One pass after another: several at once would only take more memory.

    Args:
        log_prob: of a draw, `[N]`.
        draws: `[K, ...]`.
        dtype: of the log-probabilities.
    """
    nats = tf.map_fn(log_prob, draws, fn_output_signature=dtype, parallel_iterations=1)
    log_num_draws = tf.math.log(tf.cast(tf.shape(draws)[0], nats.dtype))
    return tf.reduce_logsumexp(nats, axis=0) - log_num_draws
