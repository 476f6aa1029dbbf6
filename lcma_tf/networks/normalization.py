"""Batch normalization of feature maps on the fast kernels."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from lcma_tf.replicas import num_replicas, replica_mean

__all__ = [
    "EPSILON",
    "BatchShare",
    "batch_share",
    "fused_batch_norm",
    "has_fused_form",
    "normalize_by_batch",
    "scale_and_shift",
]

EPSILON = 1e-4  # The RealNVP program's, in every batch norm.


def has_fused_form(features: tf.Tensor) -> bool:
    """Whether the fused kernel may normalize by the batch: several times faster than separate ops.

    It has no float64 form, and moments of several replicas must meet in between.
    """
    return num_replicas() == 1 and features.dtype != tf.float64


class BatchShare(NamedTuple):
    """What the batch norms of one pass have in common, made once.

    Attributes:
        population: population variance over sample variance, `(n - 1) / n`.
        ones: `[c]`, the gamma that there is none of.
        nothing: `[0]`, the moments that are not given.
    """

    population: tf.Tensor
    ones: tf.Tensor
    nothing: tf.Tensor


def batch_share(features: tf.Tensor, dtype: tf.DType) -> BatchShare:
    """Of `[N, h, w, c]` features, with moments of type `dtype`."""
    channels = features.shape[-1]
    size = tf.cast(tf.size(features), dtype)  # n times the number of channels.
    return BatchShare((size - channels) / size, tf.ones([channels], dtype), tf.zeros([0], dtype))


def normalize_by_batch(
    features: tf.Tensor, beta: tf.Tensor, share: BatchShare, weight: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalizes by the batch's own moments and shifts by `beta`; there is no gamma.

    Moments are over batch, height and width, and over all replicas.

    Args:
        features: `[N, h, w, c]`; bfloat16 ones beside a float32 `beta` are summed in float32.
        beta: `[c]`.
        share: `batch_share` of the features.
        weight: see `replica_mean`.

    Returns:
        (normalized features, mean `[c]`, population variance `[c]`), the moments of the type of `beta`.
    """
    if has_fused_form(features):
        normalized, mean, variance, *_ = fused_batch_norm(features, beta, share)
        return normalized, mean, variance
    wide = tf.cast(features, beta.dtype)
    mean = replica_mean(wide, [0, 1, 2], weight)
    variance = replica_mean(tf.square(wide - mean), [0, 1, 2], weight)
    normalized = (wide - mean) * tf.math.rsqrt(variance + EPSILON) + beta
    return tf.cast(normalized, features.dtype), mean, variance


def fused_batch_norm(features: tf.Tensor, beta: tf.Tensor, share: BatchShare) -> list[tf.Tensor]:
    """TensorFlow's kernel: (normalized, mean, population variance, and what its gradient asks for)."""
    normalized, mean, sample_variance, *kept = tf.raw_ops.FusedBatchNormV3(
        x=features,
        scale=share.ones,
        offset=beta,
        mean=share.nothing,
        variance=share.nothing,
        epsilon=EPSILON,
        is_training=True,
    )
    # It reports the Bessel-corrected variance but normalizes by the population's.
    return [normalized, mean, sample_variance * share.population, *kept]


def scale_and_shift(features: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """`features * scale + shift`, of the type of `features` and computed in that of `scale`."""
    if features.dtype == scale.dtype:
        return features * scale + shift
    # The fused kernel casts as it goes: no feature map is written in float32.
    return tf.raw_ops.FusedBatchNormV3(
        x=features,
        scale=scale,
        offset=shift,
        mean=tf.zeros_like(scale),
        variance=tf.ones_like(scale),
        epsilon=0.0,
        is_training=False,
    )[0]
