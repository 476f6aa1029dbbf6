"""Which dimensions leave the flow at each scale: a rule's decision, frozen and kept.

A `Factorization` is a decision made once, before training (Das et al. 2019, section 3): for each
scale but the last a boolean mask, True = the dimension goes on. It belongs to a trained flow as its
weights do, and is saved with it. NumPy only: no gradient passes here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lcma_tf.errors import UserError
from lcma_tf.factorization.order import gather_kept
from lcma_tf.files.npz import NpzError, read_npz, save_npz

__all__ = ["CUSTOM", "Factorization", "FactorizationError"]

CUSTOM = "custom"  # The usual label of masks that no rule decided.
FORMAT_VERSION = 1
# The scalar entries of a file: their type and number of dimensions.
_ENTRIES = {
    "format_version": (np.integer, 0),
    "rule": (np.str_, 0),
    "seed": (np.integer, 0),
    "image_shape": (np.integer, 1),
}


class FactorizationError(UserError, ValueError):
    """A factorization that cannot be decided, or a file that does not hold a valid one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Factorization:
    """The masks of a multi-scale flow, and where they came from.

    `decide_factorization` makes one by a rule. Masks of your own are as welcome, in a flow, in a file,
    and in a run that is given that file (`--factorization_path`).

    Args:
        rule: a label, any name but the empty one: of the split rule that decided, which need not be in
            `lcma_tf.choices.RULES` any more, or `custom` for masks of your own. `none` = no masks.
        image_shape: `(H, W, C)` of the data.
        masks: `num_scales - 1` bool arrays `[h_l, w_l, c_l]`, half of each True (= goes on);
            `h_{l+1} = h_l / 2`, `w_{l+1} = w_l / 2`, `c_{l+1} = 2 c_l`. Empty for rule `none`.
        seed: the seed of rule `random`; kept with the others for the record.

    Raises:
        FactorizationError: a mask has the wrong shape or type or is not half True, or `rule` no name.

    Example:
        upper = np.zeros((8, 8, 3), bool)
        upper[:4] = True  # The upper half goes on.
        factorization = lcma_tf.Factorization(rule="custom", image_shape=(8, 8, 3), masks=[upper])
        model = lcma_tf.FlowModel(lcma_tf.FlowConfig(image_shape=(8, 8, 3)), factorization)

    Example:
        ```python
        import lcma_tf

        decided = lcma_tf.decide_factorization("realnvp", image_shape=(8, 8, 3), num_scales=3)
        assert [mask.shape for mask in decided.masks] == [(8, 8, 3), (4, 4, 6)]
        assert decided.exit_scale().max() == 3
        decided.save("factorization.npz")
        assert lcma_tf.Factorization.load("factorization.npz") == decided
        ```
    """

    rule: str
    image_shape: tuple[int, ...]
    masks: Sequence[np.ndarray] = ()
    seed: int = 0

    def __post_init__(self):
        if not isinstance(self.rule, str) or not self.rule:
            raise FactorizationError(f"`rule` must be a name; got {self.rule!r}.")
        shape = tuple(int(size) for size in self.image_shape)
        if len(shape) != 3 or min(shape) < 1:
            raise FactorizationError(f"`image_shape` must be (H, W, C), all positive; got {shape}.")
        object.__setattr__(self, "image_shape", shape)
        if self.rule == "none" and len(self.masks):
            raise FactorizationError(f"Rule 'none' has no masks; got {len(self.masks)}.")
        frozen = []
        for scale, mask in enumerate(self.masks, start=1):
            mask = np.array(mask)
            if mask.dtype != bool or mask.shape != shape:
                raise FactorizationError(
                    f"mask_{scale} must be bool of shape {shape}; got {mask.dtype} {mask.shape}."
                )
            if mask.shape[0] % 2 or mask.shape[1] % 2 or 2 * mask.sum() != mask.size:
                raise FactorizationError(
                    f"mask_{scale} must have even height and width and be half True; "
                    f"got shape {mask.shape} with {mask.sum()} of {mask.size} True."
                )
            mask.setflags(write=False)
            frozen.append(mask)
            shape = (shape[0] // 2, shape[1] // 2, 2 * shape[2])
        object.__setattr__(self, "masks", tuple(frozen))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factorization) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.rule, self.image_shape, self.seed, *(m.tobytes() for m in self.masks)))

    def check_fits(self, image_shape: tuple[int, ...], num_scales: int) -> None:
        """Raises `FactorizationError` unless this is one for such images and scales."""
        num_masks = 0 if self.rule == "none" else num_scales - 1
        if self.image_shape != tuple(image_shape) or len(self.masks) != num_masks:
            raise FactorizationError(
                f"The factorization must be for image_shape={tuple(image_shape)} and "
                f"num_scales={num_scales}; got image_shape={self.image_shape} with "
                f"{len(self.masks)} masks of rule {self.rule!r}."
            )

    def agreement(self, other: Factorization) -> tuple[float, ...]:
        """The share of equal entries, mask by mask, each in its own scale's coordinates."""
        if [m.shape for m in self.masks] != [m.shape for m in other.masks]:
            raise FactorizationError(
                f"Only factorizations of one shape can be compared; got {self.image_shape} with "
                f"{len(self.masks)} masks and {other.image_shape} with {len(other.masks)}."
            )
        return tuple(float(np.mean(a == b)) for a, b in zip(self.masks, other.masks, strict=True))

    def exit_scale(self) -> np.ndarray:
        """Returns int `[H, W, C]`: the scale, from 1, after which each dimension leaves the flow."""
        exits = np.ones(int(np.prod(self.image_shape)), np.int32)
        inside = np.arange(exits.size).reshape(self.image_shape)
        for mask in self.masks:
            inside = gather_kept(inside, mask)
            exits[inside.ravel()] += 1
        return exits.reshape(self.image_shape)

    def to_dict(self) -> dict[str, Any]:
        """A JSON form; masks as hexadecimal strings of their packed bits."""
        return {
            "rule": self.rule,
            "image_shape": list(self.image_shape),
            "seed": self.seed,
            "masks": [np.packbits(mask).tobytes().hex() for mask in self.masks],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Factorization:
        """The inverse of `to_dict`."""
        shape = tuple(values["image_shape"])
        unpacked = []
        for packed in values["masks"]:
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8))
            unpacked.append(bits[: int(np.prod(shape))].astype(bool).reshape(shape))
            shape = (shape[0] // 2, shape[1] // 2, 2 * shape[2])
        image_shape = tuple(values["image_shape"])
        return cls(values["rule"], image_shape, tuple(unpacked), values["seed"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `mask_1` ..., `rule`, `seed`, `format_version`, `image_shape` as one npz file."""
        entries = {
            "format_version": np.int64(FORMAT_VERSION),
            "rule": np.str_(self.rule),
            "seed": np.int64(self.seed),
            "image_shape": np.array(self.image_shape, np.int64),
        }
        masks = {f"mask_{scale}": mask for scale, mask in enumerate(self.masks, start=1)}
        save_npz(path, {**entries, **masks})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Factorization:
        """Reads and validates a file that `save` wrote; nothing in it is unpickled.

        Raises:
            FactorizationError: no such file, a torn, damaged or foreign one, or masks that break the
                rules.
        """
        try:
            arrays = read_npz(path)
        except NpzError as error:
            raise FactorizationError(
                f"The factorization {os.fspath(path)!r} must be a readable npz file without pickled "
                f"objects; got {error}"
            ) from error
        names = [f"mask_{scale}" for scale in range(1, len(arrays) - len(_ENTRIES) + 1)]
        if {*_ENTRIES, *names} != arrays.keys():
            raise FactorizationError(
                f"The factorization {os.fspath(path)!r} must hold rule, seed, image_shape, "
                f"format_version and mask_1, mask_2, ...; got {sorted(arrays)}."
            )
        for name, (kind, rank) in _ENTRIES.items():
            if not np.issubdtype(arrays[name].dtype, kind) or arrays[name].ndim != rank:
                raise FactorizationError(
                    f"The factorization {os.fspath(path)!r} must hold {name} as {kind.__name__} "
                    f"with {rank} dimensions; got {arrays[name]!r}."
                )
        if int(arrays["format_version"]) != FORMAT_VERSION:
            raise FactorizationError(
                f"The factorization {os.fspath(path)!r} must have format_version {FORMAT_VERSION}; "
                f"got {int(arrays['format_version'])}."
            )
        try:
            return cls(
                str(arrays["rule"]),
                tuple(int(size) for size in arrays["image_shape"]),
                tuple(arrays[name] for name in names),
                int(arrays["seed"]),
            )
        except FactorizationError as error:
            raise FactorizationError(
                f"The factorization {os.fspath(path)!r} must hold a valid one: {error}"
            ) from error
