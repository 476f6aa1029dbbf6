"""A cheap look, after each epoch, at whether the flow is still the exact one that it claims to be."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.bijectors import ImageBijector, dequantize
from lcma_tf.model.density import ImageDensity

__all__ = ["COLUMNS", "Probe", "ProbeEachEpoch", "measured_log_det", "probe"]

COLUMNS = ("probe_round_trip", "probe_log_det")  # Of `history.csv`, and in `metrics.json`.
_NUM_IMAGES = 8


class Probe(NamedTuple):
    """How far a flow is from exact, on the images that were probed; 0 up to rounding.

    Args:
        round_trip: `probe_round_trip`, the largest `|forward(inverse(y)) - y|` of a pixel, in pixel
            levels; below 0.5, `decode(encode(x))` is x.
        log_det: `probe_log_det`, the largest error of an image's log-det, in bits/dim: that of
            `inverse` against the one measured (`measured_log_det`), or that of `forward` against that
            of `inverse`, whichever is larger. What the error of a score would be.
    """

    round_trip: float
    log_det: float

    def by_column(self) -> dict[str, float]:
        """The values by the names of `COLUMNS`."""
        return dict(zip(COLUMNS, self, strict=True))


def probe(density: ImageDensity, images: np.ndarray) -> Probe:
    """Probes `density` with the weights that it has, on the first few of `images`.

    In inference mode, at the middle of the pixels' bins, in the density's dtype; nothing is changed.
    Some five passes over at most 8 images, op by op: to trace them costs what a dozen epochs' do. And,
    of a whitening, a backward pass of its one convolution for each place of the kernel and channel.

    Args:
        density: a `FlowModel` or a `FrozenFlow`.
        images: `[N, H, W, C]`, of the type that it is made for.
    """
    bijector = density.distribution.bijector
    y = dequantize(tf.constant(images[:_NUM_IMAGES]), 0.5, density.density_dtype)
    x, terms = bijector.inverse_and_terms(y)
    log_det = tf.reduce_sum(terms, [1, 2, 3])
    again, terms = bijector.forward_and_terms(x)
    errors = tf.abs(
        tf.stack(
            [measured_log_det(bijector, y) - log_det, tf.reduce_sum(terms, [1, 2, 3]) + log_det]
        )
    )
    return Probe(
        round_trip=float(tf.reduce_max(tf.abs(again - y))),
        log_det=float(tf.reduce_max(errors)) / (density.config.num_dimensions * math.log(2.0)),
    )


def measured_log_det(bijector: ImageBijector, y: tf.Tensor) -> tf.Tensor:
    """`log |det dx/dy|` of `inverse` at y `[N, H, W, C]`, in nats `[N]`, read off derivatives.

    One derivative along one direction does not hold the log-det of a whole flow, but it does that of
    each bijector of which a flow is made. These keep some positions and act on each of the others by
    itself: J = [[1, 0], [B, D]] with a diagonal D, in the order (kept, changed), or a permutation. So
    for any direction w the entries of `J^T w` at the changed positions are D w, and with w = +-1 the sum
    of `log |J^T w|` over them is `log |det J|`. One backward pass for each bijector, at the value where
    the flow meets it, gives them all; their sum is the log-det of the flow. What has a `causal_reach`, a
    1x1 convolution (0) or a whitening, is triangular in raster order but for a block of each pixel: c
    backward passes give the c rows of all blocks of pixels that are far enough apart. No log-det that
    these bijectors state is read, and nothing of how they are added up.

    Sees: a term that is missing, wrong, of the wrong sign or counted twice, anywhere from the pixels to
    the latents; a conditioner that reads what its coupling changes (D is not diagonal); a kept
    position that is not kept (NaN). Does not see: what a batch does in training (moments of the batch);
    a bijector that states neither its `changed_positions` nor a reach (a foreign one), whose stated
    log-det is taken; errors that other images or weights would show.

    Args:
        bijector: of any nesting.
        y: data.
    """
    log_dets = []

    def measure(part, value):
        value, log_det = _measured_part(part, value, seed=len(log_dets))
        log_dets.append(log_det)
        return value

    bijector.inverse_by_part(y, measure)
    return tf.add_n(log_dets)


def _measured_part(part: ImageBijector, y: tf.Tensor, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`inverse` of a bijector that is not made of others, and its log-det: `[N, h, w, c]`, `[N]`."""
    reach = part.causal_reach
    with tf.GradientTape(persistent=reach is not None, watch_accessed_variables=False) as tape:
        tape.watch(y)
        x, terms = part.inverse_and_terms(y)
    if reach is not None:
        return x, _log_det_of_blocks(tape, x, y, reach)
    changed = part.changed_positions
    if changed is None:
        return x, tf.reduce_sum(terms, [1, 2, 3])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], x.shape[1:])
    direction = tf.broadcast_to(tf.constant(signs, x.dtype), tf.shape(x))
    derivative = tape.gradient(x, y, output_gradients=direction)
    changed = np.broadcast_to(changed, y.shape[1:])
    # A one where nothing changes: its logarithm is 0.
    log_det = tf.math.log(tf.abs(tf.where(changed, derivative, 1)))
    if not changed.all():
        is_kept = tf.reduce_all(tf.where(changed, True, x == y), [1, 2, 3], keepdims=True)
        log_det = tf.where(is_kept, log_det, math.nan)
    return x, tf.reduce_sum(log_det, [1, 2, 3])


def _log_det_of_blocks(tape: tf.GradientTape, x: tf.Tensor, y: tf.Tensor, reach: int) -> tf.Tensor:
    """`log |det dx/dy|`, `[N]`, where pixels depend on themselves and those before them: by blocks.

    What leaks to a pixel adds to an entry of a block, and shows as a wrong sum; or it is found where
    nothing may be, right of a pixel (NaN).
    """
    _, height, width, channels = x.shape
    blocks, leaked = tf.zeros([*y.shape, channels], x.dtype), tf.zeros_like(y)
    for first in np.ndindex(reach + 1, 2 * reach + 1):
        # Pixels of which no two take of one and the same.
        at = np.zeros((height, width, 1))
        at[first[0] :: reach + 1, first[1] :: 2 * reach + 1] = 1
        right = sum((_moved_right(at, by) for by in range(1, reach + 1)), np.zeros_like(at))
        rows = [
            tape.gradient(x, y, tf.broadcast_to(tf.constant(at * one, x.dtype), tf.shape(x)))
            for one in np.eye(channels)
        ]
        rows = tf.stack(rows, axis=-1)  # `[N, h, w, from, to]`.
        blocks += rows * tf.constant(at[..., np.newaxis], x.dtype)
        leaked += tf.reduce_sum(tf.abs(rows) * tf.constant(right[..., np.newaxis], x.dtype), -1)
    log_det = tf.reduce_sum(tf.linalg.slogdet(blocks)[1], [1, 2])
    return tf.where(tf.reduce_any(leaked > 0, [1, 2, 3]), math.nan, log_det)


def _moved_right(at: np.ndarray, by: int) -> np.ndarray:
    return np.pad(at, ((0, 0), (by, 0), (0, 0)))[:, : at.shape[1]]


class ProbeEachEpoch(keras.callbacks.Callback):
    """Adds `probe_round_trip` and `probe_log_det` (`Probe`) to the logs of each epoch.

    For the callbacks after it: in `history.csv` and TensorBoard they stand beside the losses. They read
    variables alone, which takes no other worker.

    Args:
        images: validation images, `[N, H, W, C]`; the first few are used.
    """

    def __init__(self, images: np.ndarray):
        super().__init__()
        self._images = images

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            found = probe(self.model, self._images)  # pyright: ignore[reportArgumentType]
            logs.update(found.by_column())
