"""The file that a factorization is kept in: one npz, nothing pickled."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.files.npz import NpzError, read_npz, save_npz
from lcma_tf.files.paths import path_text

__all__ = ["FactorizationEntries", "read_factorization", "write_factorization"]

# Rotations and a whitening, which came later, are further entries: what cannot read them refuses them
# by their names.
FORMAT_VERSION = 1
# The scalar entries of a file: their type and number of dimensions.
_ENTRIES = {
    "format_version": (np.integer, 0),
    "rule": (np.str_, 0),
    "seed": (np.integer, 0),
    "image_shape": (np.integer, 1),
}
_ROTATION = re.compile(r"rotation_([1-9]\d?)")
_WHITENING = ("whitening_kernel", "whitening_mean")


class FactorizationEntries(NamedTuple):
    """What such a file holds, in the order of the arguments of `Factorization`; not checked.

    Of a whitening, its kernel and its mean.
    """

    rule: str
    image_shape: tuple[int, ...]
    masks: Sequence[np.ndarray]
    seed: int
    rotations: Sequence[np.ndarray | None]
    whitening: tuple[np.ndarray, np.ndarray] | None


def write_factorization(path: str | os.PathLike[str], entries: FactorizationEntries) -> None:
    """Writes the file at `path`, whole or not at all."""
    scalars = {
        "format_version": np.int64(FORMAT_VERSION),
        "rule": np.str_(entries.rule),
        "seed": np.int64(entries.seed),
        "image_shape": np.array(entries.image_shape, np.int64),
    }
    masks = {f"mask_{scale}": mask for scale, mask in enumerate(entries.masks, start=1)}
    rotations = {
        f"rotation_{scale}": rotation
        for scale, rotation in enumerate(entries.rotations, start=1)
        if rotation is not None
    }
    whitening = dict(zip(_WHITENING, entries.whitening or (), strict=False))
    save_npz(path, {**scalars, **masks, **rotations, **whitening})


def read_factorization(path: str | os.PathLike[str]) -> FactorizationEntries:
    """Reads what `write_factorization` wrote.

    Raises:
        FactorizationError: no such file, or a torn, damaged or foreign one.
        PathError: `path` is none.
    """
    place = f"The factorization {path_text('path', path)!r} must"
    try:
        arrays = read_npz(path)
    except NpzError as error:
        raise FactorizationError(
            f"{place} be a readable npz file without pickled objects; got {error}"
        ) from error
    scales = {int(found[1]): name for name in arrays if (found := _ROTATION.fullmatch(name))}
    whitening = _WHITENING if arrays.keys() & {*_WHITENING} else ()
    num_masks = len(arrays) - len(_ENTRIES) - len(scales) - len(whitening)
    masks = [f"mask_{scale}" for scale in range(1, num_masks + 1)]
    if {*_ENTRIES, *masks, *scales.values(), *whitening} != arrays.keys():
        raise FactorizationError(
            f"{place} hold rule, seed, image_shape, format_version and mask_1, mask_2, ..., and may "
            "hold rotation_1, rotation_2, ..., and whitening_kernel with whitening_mean; "
            f"got {sorted(arrays)}."
        )
    for name, (kind, rank) in _ENTRIES.items():
        if not np.issubdtype(arrays[name].dtype, kind) or arrays[name].ndim != rank:
            raise FactorizationError(
                f"{place} hold {name} as {kind.__name__} with {rank} dimensions; "
                f"got {arrays[name]!r}."
            )
    if int(arrays["format_version"]) != FORMAT_VERSION:
        raise FactorizationError(
            f"{place} have format_version {FORMAT_VERSION}; got {int(arrays['format_version'])}."
        )
    return FactorizationEntries(
        str(arrays["rule"]),
        tuple(int(size) for size in arrays["image_shape"]),
        [arrays[name] for name in masks],
        int(arrays["seed"]),
        [arrays.get(f"rotation_{scale}") for scale in range(1, max(scales, default=0) + 1)],
        (arrays["whitening_kernel"], arrays["whitening_mean"]) if whitening else None,
    )
