"""How rare a value is among those of known images: a table of them, and a tail beyond the largest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from lcma_tf.scores.errors import CalibrationError

__all__ = ["Tail"]

_MAX_ROWS, _MAX_ENDS = 3_072, 512  # Ranks over the whole, and all of them at either end.
_TAIL_SHARE, _MIN_IN_TAIL = 0.02, 10


@dataclasses.dataclass(frozen=True)
class Tail:
    """The share of images with at least a value, as a function of the value.

    At a known value it is `(how many have at least as much) / (n + 1)`, which is what conformal
    prediction gives a new image just above it (the new one counts itself), and between two its logarithm
    is linear: a threshold at the share `k / (n + 1)` alarms for just that share of new images of the
    same kind, whatever their distribution, if no two values are equal. Beyond the largest it falls
    exponentially, with the mean excess of the highest 2 % over the rest: that far out it orders images,
    and is no probability that anybody has measured. What is no number (NaN: a flow can overflow) is
    beyond all.

    Args:
        values: float32 `[Q]`, rising.
        log_shares: float32 `[Q]`, falling, below 0.
        scale: of the exponential tail, in the unit of the values; above 0.
    """

    values: np.ndarray
    log_shares: np.ndarray
    scale: float

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Tail:
        """The tail of a score called `name`, from its `values` `[n]` of known images.

        Raises:
            CalibrationError: they are not finite, or all the same.
        """
        ranked = np.sort(np.asarray(values, np.float64))
        if not np.isfinite(ranked).all():
            raise CalibrationError(f"`{name}` must be finite for all images; it is not for some.")
        count = len(ranked)
        in_tail = min(max(_MIN_IN_TAIL, round(_TAIL_SHARE * count)), count - 1)
        excess = np.mean(ranked[-in_tail:] - ranked[-in_tail - 1])
        rows = np.linspace(0, count - 1, min(count, _MAX_ROWS)).round().astype(int)
        ends = np.arange(min(count, _MAX_ENDS))
        rows = np.unique(np.concatenate([rows, ends, count - 1 - ends]))
        table = np.unique(ranked[rows].astype(np.float32))
        if len(table) < 2:
            raise CalibrationError(f"`{name}` must differ between images; it is the same for all.")
        # Of equal values the first, which may not be among the rows: it has the largest share.
        first = np.searchsorted(ranked.astype(np.float32), table)
        shares = np.log((count - first) / (count + 1))
        scale = max(float(excess), 1e-6 * float(table[-1] - table[0]))
        return cls(table, shares.astype(np.float32), scale)

    def log_share(self, values: tf.Tensor) -> tf.Tensor:
        """Log of the share of images with at least `values` float32 `[N]`: float64 `[N]`, below 0.

        In float64, so that what is made of it is the same float32 in a batch of any size: kernels of
        `exp` differ in last digits by where in a batch a row is.
        """
        table = tf.constant(self.values, tf.float64)
        shares = tf.constant(self.log_shares, tf.float64)
        values = tf.cast(values, tf.float64)
        values = tf.where(tf.math.is_nan(values), tf.constant(np.inf, tf.float64), values)
        after = tf.searchsorted(table, values, side="right")
        after = tf.clip_by_value(after, 1, len(self.values) - 1)
        low, high = tf.gather(table, after - 1), tf.gather(table, after)
        place = tf.clip_by_value((values - low) / (high - low), 0, 1)
        low_share, high_share = tf.gather(shares, after - 1), tf.gather(shares, after)
        beyond = tf.nn.relu(values - table[-1]) / self.scale
        return low_share + place * (high_share - low_share) - beyond

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """What is kept of it, in entries that begin with `name`."""
        return {
            f"{name}.values": self.values,
            f"{name}.log_shares": self.log_shares,
            f"{name}.scale": np.array(self.scale),
        }

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, np.ndarray]) -> Tail:
        """The inverse of `to_arrays`.

        Raises:
            ValueError: it is no table of a tail.
        """
        tail = cls(
            arrays[f"{name}.values"], arrays[f"{name}.log_shares"], float(arrays[f"{name}.scale"])
        )
        for column, sign in ((tail.values, 1), (tail.log_shares, -1)):
            is_table = column.dtype == np.float32 and column.ndim == 1 and len(column) > 1
            if not (is_table and np.isfinite(column).all() and (sign * np.diff(column) > 0).all()):
                raise ValueError(f"{name!r} is no table of rising values and falling shares")
        if len(tail.values) != len(tail.log_shares) or tail.log_shares[0] >= 0:
            raise ValueError(f"{name!r} has shares that are none")
        if not 0 < tail.scale < np.inf:
            raise ValueError(f"{name!r} has a tail of scale {tail.scale}")
        return tail
