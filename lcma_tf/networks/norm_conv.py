"""Batch norm, relu and convolution as one differentiable step that keeps half of the memory."""

from __future__ import annotations

import tensorflow as tf

from lcma_tf.networks.normalization import (
    EPSILON,
    BatchShare,
    fused_batch_norm,
    has_fused_form,
    normalize_by_batch,
)

__all__ = ["norm_conv"]

_CONV = {"strides": [1, 1, 1, 1], "padding": "SAME"}


def norm_conv(
    x: tf.Tensor,
    beta: tf.Tensor,
    kernel: tf.Tensor,
    share: BatchShare,
    weight: tf.Tensor | None = None,
):
    """Batch norm by the batch's moments, relu, convolution.

    In float32 the rectified map, half of what would be kept for the backward pass, is not kept: it is
    one cheap pass over `x`, and the gradients of a convolution do not need its result. In bfloat16,
    whose maps are half as large and whose norms are slow on CPUs, it is.

    Args:
        x: `[N, h, w, c]`.
        beta: `[c]`.
        kernel: `[kh, kw, c, c_out]`, of the type of `x`.
        share, weight: see `normalize_by_batch`.

    Returns:
        (result `[N, h, w, c_out]`, mean `[c]`, variance `[c]`). No gradient flows through the moments
        that are returned, and no second one through those inside.
    """
    if has_fused_form(x) and x.dtype == tf.float32:
        return _fused(x, beta, kernel, share)
    normalized, mean, variance = normalize_by_batch(x, beta, share, weight)
    return tf.nn.conv2d(tf.nn.relu(normalized), kernel, 1, "SAME"), mean, variance


def _fused(x, beta, kernel, share):
    # Out of the differentiated function, which would be handed a gradient of each of its results,
    # zeros for those that nobody differentiates.
    normalized, mean, variance, *kept = fused_batch_norm(
        tf.stop_gradient(x), tf.stop_gradient(beta), share
    )

    @tf.custom_gradient
    def run(x, beta, kernel):
        result = tf.nn.conv2d(tf.nn.relu(normalized), kernel, 1, "SAME")

        def backward(upstream):
            # Not before it is needed. It is another op than the one above, as the moments are given:
            # Grappler does not take the two for one.
            with tf.control_dependencies([upstream]):
                again = tf.raw_ops.FusedBatchNormV3(
                    x=x,
                    scale=share.ones,
                    offset=beta,
                    mean=mean,
                    variance=variance,
                    epsilon=EPSILON,
                    is_training=False,
                )[0]
            rectified = tf.nn.relu(again)
            by_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=rectified, filter_sizes=kernel.shape, out_backprop=upstream, **_CONV
            )
            by_rectified = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, **_CONV
            )
            by_x, _, by_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=tf.raw_ops.ReluGrad(gradients=by_rectified, features=rectified),
                x=x,
                scale=share.ones,
                reserve_space_1=kept[0],
                reserve_space_2=kept[1],
                reserve_space_3=kept[2],
                epsilon=EPSILON,
                is_training=True,
            )
            return by_x, by_beta, by_kernel

        return result, backward

    return run(x, beta, kernel), mean, variance
