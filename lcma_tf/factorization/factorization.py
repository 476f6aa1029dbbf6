"""What is decided by data before training: where each dimension leaves the flow, frozen and kept.

A `Factorization` is a decision made once, before training (Das et al. 2019, section 3): for each
scale but the last a boolean mask, True = the dimension goes on; and, where they were fitted, rotations
of the channels that enter a scale and a whitening of the images before the first. It belongs to a
trained flow as its weights do, and is saved with it.
NumPy only: no gradient passes here.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lcma_tf.factorization.checks import check_seed, checked_image_shape, checked_mask
from lcma_tf.factorization.errors import FactorizationError
from lcma_tf.factorization.file import (
    FactorizationEntries,
    read_factorization,
    write_factorization,
)
from lcma_tf.factorization.order import gather_kept
from lcma_tf.factorization.rotation import checked_rotation
from lcma_tf.factorization.whitening import Whitening

__all__ = ["CUSTOM", "Factorization", "FactorizationError"]

CUSTOM = "custom"  # The usual label of masks that no rule decided.


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
        rotations: orthogonal `[c_l, c_l]` for the scales from the first on, or None for one that has
            none: the channels of what enters the scale are turned by it (`ChannelRotation`), so that
            the scale's mask speaks of turned channels. Kept as float32. Without masks `c_{l+1} = 4 c_l`.
        whitening: of the images as they enter the first scale, behind its rotation
            (`CausalWhitening`); None = they enter as they are.

    Raises:
        FactorizationError: a mask has the wrong shape or type or is not half True, a rotation is not
            orthogonal (to 1e-5) or of the wrong size, the whitening is of other channels, or `rule` is
            no name.

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
    rotations: Sequence[np.ndarray | None] = ()
    whitening: Whitening | None = None

    def __post_init__(self):
        if not isinstance(self.rule, str) or not self.rule:
            raise FactorizationError(f"`rule` must be a name; got {self.rule!r}.")
        shape = checked_image_shape(self.image_shape)
        object.__setattr__(self, "image_shape", shape)
        check_seed(self.seed)
        object.__setattr__(self, "seed", int(self.seed))
        for name in ("masks", "rotations"):
            if not isinstance(getattr(self, name), Sequence | np.ndarray):
                kind = type(getattr(self, name)).__name__
                raise FactorizationError(f"`{name}` must be a sequence of arrays; got {kind}.")
        if self.rule == "none" and len(self.masks):
            raise FactorizationError(f"Rule 'none' has no masks; got {len(self.masks)}.")
        frozen = []
        for scale, mask in enumerate(self.masks, start=1):
            frozen.append(checked_mask(f"mask_{scale}", mask, shape))
            shape = _next_shape(shape, splits=True)
        object.__setattr__(self, "masks", tuple(frozen))
        object.__setattr__(self, "rotations", self._checked_rotations())
        self._check_whitening()

    def _checked_rotations(self) -> tuple[np.ndarray | None, ...]:
        if self.masks and len(self.rotations) > len(self.masks) + 1:
            raise FactorizationError(
                f"`rotations` must be at most one a scale, {len(self.masks) + 1}; "
                f"got {len(self.rotations)}."
            )
        checked: list[np.ndarray | None] = []
        shapes = self.level_shapes(len(self.rotations))
        for scale, (matrix, shape) in enumerate(zip(self.rotations, shapes, strict=True), start=1):
            if matrix is None:
                checked.append(None)
                continue
            found = checked_rotation(f"rotation_{scale}", matrix)
            if len(found) != shape[2]:
                raise FactorizationError(
                    f"rotation_{scale} must be {shape[2]} x {shape[2]}, for the channels that enter "
                    f"scale {scale}; got {found.shape}."
                )
            stored = found.astype(np.float32)  # `ChannelRotation` makes it orthogonal again.
            stored.setflags(write=False)
            checked.append(stored)
        while checked and checked[-1] is None:
            checked.pop()
        return tuple(checked)

    def _check_whitening(self) -> None:
        found, channels = self.whitening, self.image_shape[-1]
        if not (found is None or isinstance(found, Whitening)):
            kind = type(found).__name__
            raise FactorizationError(f"`whitening` must be a Whitening or None; got {kind}.")
        if found is not None and found.num_channels != channels:
            raise FactorizationError(
                f"`whitening` must be for the {channels} channels of the images; "
                f"got one for {found.num_channels}."
            )

    def level_shapes(self, num_scales: int) -> tuple[tuple[int, ...], ...]:
        """The shapes `(h, w, c)` of what enters each of `num_scales` scales, the data's first."""
        shapes = [self.image_shape]
        while len(shapes) < num_scales:
            shapes.append(_next_shape(shapes[-1], splits=self.rule != "none"))
        return tuple(shapes[:num_scales])

    def rotation(self, index: int) -> np.ndarray | None:
        """The rotation of the channels that enter scale `index`, from 0; None = there is none."""
        return self.rotations[index] if index < len(self.rotations) else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Factorization) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        contents = (a.tobytes() for a in (*self.masks, *self.rotations) if a is not None)
        return hash((self.rule, self.image_shape, self.seed, self.whitening, *contents))

    def check_fits(self, image_shape: tuple[int, ...], num_scales: int) -> None:
        """Raises `FactorizationError` unless this is one for such images and scales."""
        num_masks = 0 if self.rule == "none" else num_scales - 1
        fits = len(self.masks) == num_masks and len(self.rotations) <= num_scales
        if self.image_shape != tuple(image_shape) or not fits:
            rotations = f" and {len(self.rotations)} rotations" if self.rotations else ""
            raise FactorizationError(
                f"The factorization must be for image_shape={tuple(image_shape)} and "
                f"num_scales={num_scales}; got image_shape={self.image_shape} with "
                f"{len(self.masks)} masks of rule {self.rule!r}{rotations}."
            )

    def agreement(self, other: Factorization) -> tuple[float, ...]:
        """The share of equal entries, mask by mask, each in its own scale's coordinates."""
        if not isinstance(other, Factorization):
            kind = type(other).__name__
            raise FactorizationError(f"`other` must be a Factorization; got {kind}.")
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
        values = {
            "rule": self.rule,
            "image_shape": list(self.image_shape),
            "seed": self.seed,
            "masks": [np.packbits(mask).tobytes().hex() for mask in self.masks],
        }
        if self.rotations:  # Left out where there are none: as it was before there could be any.
            values["rotations"] = [r if r is None else r.tolist() for r in self.rotations]
        if self.whitening is not None:
            values["whitening"] = self.whitening.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Factorization:
        """The inverse of `to_dict`."""
        shape = tuple(values["image_shape"])
        unpacked = []
        for packed in values["masks"]:
            bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8))
            unpacked.append(bits[: int(np.prod(shape))].astype(bool).reshape(shape))
            shape = _next_shape(shape, splits=True)
        rotations = [r if r is None else np.array(r) for r in values.get("rotations", ())]
        whitening = values.get("whitening") and Whitening.from_dict(values["whitening"])
        image_shape, masks = tuple(values["image_shape"]), tuple(unpacked)
        return cls(values["rule"], image_shape, masks, values["seed"], rotations, whitening)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `mask_1` ..., `rule`, `seed`, `format_version`, `image_shape` as one npz file.

        With `rotation_1` ... for the scales that have one, and `whitening_kernel` and `whitening_mean`.
        """
        found = self.whitening
        whitening = None if found is None else (found.kernel, found.mean)
        entries = (self.rule, self.image_shape, self.masks, self.seed, self.rotations, whitening)
        write_factorization(path, FactorizationEntries(*entries))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Factorization:
        """Reads and validates a file that `save` wrote; nothing in it is unpickled.

        Raises:
            FactorizationError: no such file, a torn, damaged or foreign one, or masks, rotations or a
                whitening that break the rules.
        """
        *_, whitening = entries = read_factorization(path)
        try:
            return cls(*entries[:-1], None if whitening is None else Whitening(*whitening))
        except FactorizationError as error:
            raise FactorizationError(
                f"The factorization {os.fspath(path)!r} must hold a valid one: {error}"
            ) from error


def _next_shape(shape: tuple[int, ...], splits: bool) -> tuple[int, ...]:
    """What a scale sends on of `(h, w, c)`, at half the resolution: half of it, or all."""
    return shape[0] // 2, shape[1] // 2, (2 if splits else 4) * shape[2]
