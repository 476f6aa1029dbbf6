"""Causal whitening: what a pixel is beyond its neighbours before it in raster order. NumPy only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lcma_tf.factorization.errors import FactorizationError

__all__ = ["Whitening", "causal_offsets", "causal_views"]


@dataclasses.dataclass(frozen=True, eq=False)
class Whitening:
    """A fixed linear map of images that leaves each pixel what its causal neighbours do not say of it.

    Causal are the pixels of the `r` rows above, up to `r` columns to either side, those up to `r` to the
    left in the same row, and, within the pixel, the channels before. So in raster order the map is
    triangular, its log-det is `H W sum log diag kernel[r, r]`, and it is inverted pixel by pixel. Beyond
    the border every pixel is the mean.

    `lcma_tf.fit_whitening` fits one that is stable; one of your own is as exact as float64 is where its
    inverse, which is recursive, does not let errors grow from row to row.

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
        own = self.kernel[-1, self.reach]
        _check_zero("right of the pixel in its own row", self.kernel[-1, rows:])
        _check_zero("where a channel would take of a later one", np.tril(own, -1))
        if not (np.diag(own) > 0).all():
            raise FactorizationError(
                "`whitening_kernel` must be above 0 on the diagonal of its own pixel; "
                f"got {np.diag(own).min():g}."
            )

    @property
    def reach(self) -> int:
        """r: how many rows above and columns to either side a pixel takes of."""
        return len(self.kernel) - 1

    @property
    def num_channels(self) -> int:
        """Of the images that it is for."""
        return len(self.mean)

    @property
    def log_scale(self) -> np.ndarray:
        """`log diag kernel[r, r]`, float64 `[c]`: the log-det term of each dimension, nats."""
        return np.log(np.diag(self.kernel[-1, self.reach]).astype(np.float64))

    def row_response(self, width: int) -> np.ndarray:
        """How a row is found from what is left of it, when the rows above are known: `[width, c, c]`.

        `response[k, m, n]` is what channel n of a pixel has of what is left of channel m, k pixels to
        the left of it; float64.
        """
        own = self.kernel[-1].astype(np.float64)
        response = np.zeros((width, *own.shape[1:]))
        response[0] = first = np.linalg.inv(own[self.reach])
        for place in range(1, width):
            for left in range(1, min(place, self.reach) + 1):
                response[place] -= response[place - left] @ own[self.reach - left] @ first
        return response

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The map of `[n, H, W, c]`, in float64.

        Raises:
            FactorizationError: images of another rank or number of channels.
        """
        images = np.asarray(images)
        if images.ndim != 4 or images.shape[-1] != self.num_channels:
            raise FactorizationError(
                f"`images` must be [n, H, W, {self.num_channels}]; got {images.shape}."
            )
        found, kernel = np.zeros(images.shape), self.kernel.astype(np.float64)
        around = causal_views(images.astype(np.float64) - self.mean, self.reach)
        for (row, column), taken in around.items():
            found += taken @ kernel[self.reach + row, self.reach + column]
        return found

    def inverse(self, left: np.ndarray) -> np.ndarray:
        """The images `[n, H, W, c]` of which `left` is what is left, in float64, row by row."""
        number, height, width, channels = left.shape
        reach, kernel = self.reach, self.kernel.astype(np.float64)
        response = self.row_response(width)
        back = np.arange(width) - np.arange(width)[:, None]  # From where it comes to where it goes.
        spread = np.where(back[:, :, None, None] < 0, 0, response[back]).transpose(0, 2, 1, 3)
        spread = spread.reshape(width * channels, width * channels)
        found = np.zeros((number, height + reach, width + 2 * reach, channels))
        for row in range(height):
            known = sum(
                found[:, row + above, column : column + width] @ kernel[above, column]
                for above in range(reach)
                for column in range(2 * reach + 1)
            )
            rest = (left[:, row] - known).reshape(number, -1) @ spread
            found[:, row + reach, reach : reach + width] = rest.reshape(number, width, channels)
        return found[:, reach:, reach : reach + width] + self.mean

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Whitening) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.kernel.tobytes(), self.mean.tobytes()))

    def to_dict(self) -> dict[str, Any]:
        """A JSON form."""
        return {"kernel": self.kernel.tolist(), "mean": self.mean.tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Whitening:
        """The inverse of `to_dict`."""
        return cls(np.array(values["kernel"]), np.array(values["mean"]))


def causal_offsets(reach: int) -> list[tuple[int, int]]:
    """Where the causal neighbours of a pixel are, `(rows, columns)` from it, in raster order."""
    above = [(row, column) for row in range(-reach, 0) for column in range(-reach, reach + 1)]
    return above + [(0, column) for column in range(-reach, 0)]


def causal_views(images: np.ndarray, reach: int) -> dict[tuple[int, int], np.ndarray]:
    """What each pixel of `[n, h, w, c]` takes of, by where: `causal_offsets`, then itself; 0 outside."""
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (reach, 0), (reach, reach), (0, 0)))
    return {
        (row, column): padded[:, reach + row :, reach + column :][:, :height, :width]
        for row, column in (*causal_offsets(reach), (0, 0))
    }


def _check_zero(where: str, entries: np.ndarray) -> None:
    if entries.any():
        largest = entries.flat[np.abs(entries).argmax()]
        raise FactorizationError(f"`whitening_kernel` must be zero {where}; got {largest:g}.")


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
    with np.errstate(over="ignore"):  # Refused below.
        found = found.astype(np.float32)
    if not np.isfinite(found).all():
        bad = found[~np.isfinite(found)][0]
        raise FactorizationError(f"`{name}` must be finite in float32; got {bad}.")
    found.setflags(write=False)
    return found
