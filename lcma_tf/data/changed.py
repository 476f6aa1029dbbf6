"""Whole data sets to others of the same images, a block at a time: in memory, or from disk to disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from lcma_tf.data.cache import MEMORY, Filling, Store
from lcma_tf.data.image_data import ImageData
from lcma_tf.data.one_split import OneSplit

__all__ = ["Images", "changed", "with_fingerprint"]

Images = TypeVar("Images", ImageData, OneSplit)

_BLOCK = 1_024  # Images.


def changed(
    data: ImageData | OneSplit,
    asked: Mapping[str, Any],
    change: Callable[[np.ndarray], np.ndarray],
    store: Store,
) -> dict[str, np.ndarray]:
    """The arrays of `data` by name, every image changed.

    Args:
        asked: what `change` is made by, by name.
        change: function from `[n, H, W, C]` to `[n, h, w, c]`, image by image.
        store: where they are kept, if it keeps those of `data`; else in memory.
    """
    known = _fingerprints(data, store)
    if known is None:
        known, store = {}, MEMORY

    def fill(filling: Filling) -> None:
        for name in data.ARRAYS:
            images = getattr(data, name)
            with filling.array(name, len(images)) as sink:
                for start in range(sink.filled, len(images), _BLOCK):
                    sink.append(change(images[start : start + _BLOCK]))

    origin = store.origin(getattr(data, data.ARRAYS[0]))
    return store.arrays(data.name, {**asked, "of": origin}, known, fill).arrays


def with_fingerprint(data: Images, store: Store) -> Images:
    """`data` with the fingerprint that `store` has of its images without reading them, if it has one."""
    known = _fingerprints(data, store)
    if known is not None:
        # The place of their `functools.cached_property`.
        vars(data)["fingerprint"] = known if isinstance(data, ImageData) else known["images"]
    return data


def _fingerprints(data: ImageData | OneSplit, store: Store) -> dict[str, Any] | None:
    """Of the arrays of `data` by name; None: the store does not keep them all."""
    known = {name: store.known(getattr(data, name)) for name in data.ARRAYS}
    return None if None in known.values() else known
