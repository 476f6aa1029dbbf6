"""What a client checks before it sends: a request that must fail is not sent.

It would come back with an error anyway; but where the server merges requests, those of other clients
in the same batch would fail with it. And some mistakes no server can see: the pixel 300 arrives as 44.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lcma_tf.errors import UserError

__all__ = [
    "MAX_BATCH_SIZE",
    "MAX_TEMPERATURE",
    "RequestError",
    "as_images",
    "as_latents",
    "as_rates",
    "as_seeds",
    "as_temperatures",
]

# As in the signatures of an export.
MAX_BATCH_SIZE = 64
MAX_TEMPERATURE = 2.0

_INT32 = np.iinfo(np.int32)


class RequestError(UserError, ValueError):
    """A request that the server would have to refuse; nothing was sent."""


def as_images(images: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """`images` as uint8 `[N, H, W, C]`.

    Raises:
        RequestError: not integers from 0 to 255, no rows, or images of another shape.
    """
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.integer):
        raise RequestError(
            f"`images` must be uint8, or integers from 0 to 255; got dtype {images.dtype}."
        )
    _check_shape("images", images, image_shape)
    lowest, highest = images.min(), images.max()
    if lowest < 0 or highest > 255:
        raise RequestError(f"`images` must hold integers from 0 to 255; got {lowest} to {highest}.")
    return images.astype(np.uint8)


def as_latents(latents: np.ndarray, image_shape: Sequence[int]) -> np.ndarray:
    """`latents` as float32 `[N, H, W, C]`.

    Raises:
        RequestError: not floats, not finite (in float32), no rows, or latents of another shape.
    """
    latents = np.asarray(latents)
    if not np.issubdtype(latents.dtype, np.floating):
        raise RequestError(f"`latents` must be floats; got dtype {latents.dtype}.")
    _check_shape("latents", latents, image_shape)
    with np.errstate(over="ignore"):
        latents = latents.astype(np.float32)
    if not np.isfinite(latents).all():
        raise RequestError("`latents` must be finite as float32; got NaN or infinity.")
    return latents


def as_seeds(num: int, seed: int) -> np.ndarray:
    """Seeds `[num, 2]`, int32: row i is `(seed, i)`.

    Raises:
        RequestError: `num` below 1, or a number that does not fit into int32.
    """
    if not 1 <= num <= _INT32.max:
        raise RequestError(f"`num` must be between 1 and {_INT32.max}; got {num}.")
    if not _INT32.min <= seed <= _INT32.max:
        raise RequestError(f"`seed` must be between {_INT32.min} and {_INT32.max}; got {seed}.")
    return np.stack([np.full(num, seed, np.int32), np.arange(num, dtype=np.int32)], axis=1)


def as_temperatures(num: int, temperature: float | Sequence[float] | np.ndarray) -> np.ndarray:
    """Temperatures `[num]`, float32: the one number repeated, or one for each row.

    Raises:
        RequestError: neither one number nor `num` of them, or one outside `[0, MAX_TEMPERATURE]`.
    """
    temperatures = np.asarray(temperature, np.float32)
    if temperatures.shape not in ((), (num,)):
        raise RequestError(
            f"`temperature` must be one number or {num}; got shape {list(temperatures.shape)}."
        )
    # A comparison with NaN is false.
    if not ((temperatures >= 0) & (temperatures <= MAX_TEMPERATURE)).all():
        raise RequestError(
            f"`temperature` must be between 0 and {MAX_TEMPERATURE:g}; got {temperature}."
        )
    return np.array(np.broadcast_to(temperatures, (num,)))


def as_rates(num: int, rate: float) -> np.ndarray:
    """The false-alarm rate `[num]`, float32, the same for all rows.

    Raises:
        RequestError: it is not between 0 and 0.5.
    """
    # As `lcma_tf.config.is_rate` has it, which a client does without: as float32 it is one, too.
    if not (0 < rate < 0.5 and np.finfo(np.float32).tiny <= np.float32(rate) < 0.5):
        raise RequestError(
            f"`false_alarm_rate` must be between 0 and 0.5, both excluded; got {rate}."
        )
    return np.full(num, rate, np.float32)


def _check_shape(name: str, array: np.ndarray, image_shape: Sequence[int]) -> None:
    wanted = tuple(image_shape)
    if array.shape[1:] != wanted or not len(array):
        raise RequestError(
            f"`{name}` must have the shape [N, {', '.join(map(str, wanted))}], N at least 1; "
            f"got {list(array.shape)}."
        )
