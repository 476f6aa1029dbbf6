"""Causal whitening: what a pixel is beyond its neighbours above and to the left. NumPy only."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lcma_tf.factorization.errors import FactorizationError

__all__ = ["Whitening", "causal_offsets"]


@dataclasses.dataclass(frozen=True, eq=False)
class Whitening:
    """A fixed linear map of images that leaves each pixel what its causal neighbours do not say of it.

    Causal are the pixels of the `r` rows above, `r` columns to either side, those up to `r` to the left,
    and, within the pixel, the channels before. Beyond the border every pixel is the mean. So in raster
    order the map is triangular: its log-det is `H W sum log diag kernel[r, r]`, and it is inverted pixel
    by pixel. `lcma_tf.fit_whitening` fits one by least squares; any that keeps the rules is welcome.

    Args:
        kernel: `[r + 1, 2 r + 1, c, c]`, r at least 1: `kernel[a, b, m, n]` is what channel n of pixel
            (i, j) takes of channel m of pixel (i + a - r, j + b - r). Zero right of the pixel in its own
            row, `kernel[r, r]` upper triangular with a diagonal above 0. Kept as float32.
        mean: `[c]`, of the channels before the map. Kept as float32.

    Raises:
        FactorizationError: one of them breaks a rule.

    Example:
        ```python
        import numpy as np

        from lcma_tf.factorization import Whitening

        kernel = np.zeros((2, 3, 1, 1))
        kernel[1, 1], kernel[1, 0] = 1.0, -1.0  # Each pixel less its left neighbour.
        whitening = Whitening(kernel, mean=[5.0])
        assert whitening(np.full((1, 2, 2, 1), 6.0)).ravel().tolist() == [1.0, 0.0, 1.0, 0.0]
        ```
    """

    kernel: np.ndarray
    mean: np.ndarray

    def __post_init__(self):
        for name, rank in (("kernel", 4), ("mean", 1)):
            found = _checked_array(f"whitening_{name}", getattr(self, name), rank)
            object.__setattr__(self, name, found)
        rows, columns, channels, others = self.kernel.shape
        if rows < 2 or columns != 2 * rows - 1 or channels != others or not channels:
            raise FactorizationError(
                "`whitening_kernel` must have shape [r + 1, 2 r + 1, c, c], r at least 1; "
                f"got {self.kernel.shape}."
            )
        if self.mean.shape != (channels,):
            raise FactorizationError(
                f"`whitening_mean` must have shape {(channels,)}, that of the kernel's channels; "
                f"got {self.mean.shape}."
            )
        centre = self.kernel[-1, rows - 1]
        if (
            self.kernel[-1, rows:].any()
            or np.tril(centre, -1).any()
            or not (np.diag(centre) > 0).all()
        ):
            raise FactorizationError(
                "`whitening_kernel` must be causal: zero right of the pixel in its own row, "
                "upper triangular within the pixel, its diagonal above 0; got one that is not."
            )

    @property
    def num_channels(self) -> int:
        """Of the images that it is for."""
        return len(self.mean)

    @property
    def log_scale(self) -> np.ndarray:
        """`log diag kernel[r, r]`, float64 `[c]`: the log-det term of each dimension, nats."""
        return np.log(np.diag(self.kernel[-1, len(self.kernel) - 1]).astype(np.float64))

    def row_response(self, width: int) -> np.ndarray:
        """How a row is found from what is left of it, when the rows above are known: `[width, c, c]`.

        `response[k, m, n]` is what channel n of a pixel has of what is left of channel m, k pixels to
        the left of it; float64.
        """
        reach, channels = len(self.kernel) - 1, self.num_channels
        own = self.kernel[-1].astype(np.float64)
        first = np.linalg.inv(own[reach])
        response = np.zeros((width, channels, channels))
        response[0] = first
        for place in range(1, width):
            for left in range(1, min(place, reach) + 1):
                response[place] -= response[place - left] @ own[reach - left] @ first
        return response

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The map of `[n, H, W, c]`, in float64."""
        reach, (height, width) = len(self.kernel) - 1, images.shape[1:3]
        around = ((0, 0), (reach, 0), (reach, reach), (0, 0))
        padded = np.pad(images.astype(np.float64) - self.mean, around)
        found = np.zeros(images.shape)
        for row, column in (*causal_offsets(reach), (0, 0)):
            top, left = reach + row, reach + column
            taken = padded[:, top : top + height, left : left + width]
            found += taken @ self.kernel[top, left].astype(np.float64)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Whitening) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.kernel.tobytes(), self.mean.tobytes()))

    def to_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return {"kernel": self.kernel.tolist(), "mean": self.mean.tolist()}

    @classmethod
    def of_moments(cls, moments: np.ndarray, mean: np.ndarray, reach: int) -> Whitening:
        """The one that predicts best, from second moments, with a residual of variance 1.

        Args:
            moments: `[k, k]`, mean products of what belongs to a pixel: the channels of each of its
                neighbours, in the order of `causal_offsets(reach)`, then its own, all less the mean.
            mean: `[c]`.
            reach: r.

        Raises:
            FactorizationError: a channel is wholly said by the others, so that nothing is left of it.
        """
        channels, offsets = len(mean), causal_offsets(reach)
        kernel = np.zeros((reach + 1, 2 * reach + 1, channels, channels))
        first = len(offsets) * channels
        for channel in range(channels):
            known, own = slice(0, first + channel), first + channel
            # The least of several, where neighbours say the same as one another.
            weights = np.linalg.lstsq(moments[known, known], moments[known, own], rcond=1e-12)[0]
            variance = moments[own, own] - weights @ moments[known, own]
            if not variance > 1e-9 * max(moments[own, own], 1e-9):  # A NaN is not.
                raise FactorizationError(
                    "`images` must differ from what their pixels' neighbours say, so that there is "
                    f"something to whiten; nothing is left of channel {channel}."
                )
            deviation = np.sqrt(variance)
            for place, (row, column) in enumerate(offsets):
                taken = weights[place * channels : (place + 1) * channels]
                kernel[row + reach, column + reach, :, channel] = -taken / deviation
            kernel[reach, reach, :channel, channel] = -weights[first:] / deviation
            kernel[reach, reach, channel, channel] = 1 / deviation
        return cls(kernel, mean)


def causal_offsets(reach: int) -> list[tuple[int, int]]:
    """Where the causal neighbours of a pixel are, `(rows, columns)` from it, in raster order."""
    above = [(row, column) for row in range(-reach, 0) for column in range(-reach, reach + 1)]
    return above + [(0, column) for column in range(-reach, 0)]


def _checked_array(name: str, value: Any, rank: int) -> np.ndarray:
    try:
        found = np.asarray(value)
    except ValueError as error:  # Rows of several lengths.
        raise FactorizationError(f"`{name}` must be an array: {error}") from error
    real = np.issubdtype(found.dtype, np.number) and not np.iscomplexobj(found)
    if found.ndim != rank or not real:
        raise FactorizationError(
            f"`{name}` must be an array of real numbers with {rank} dimensions; "
            f"got {found.dtype} {found.shape}."
        )
    found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise FactorizationError(f"`{name}` must be finite; got an entry that is not.")
    found.setflags(write=False)
    return found
