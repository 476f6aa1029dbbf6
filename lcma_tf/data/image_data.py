"""One image data set in memory: three uint8 splits of one image shape.

Everything above the loaders sees only this class, so whatever holds for it (integer pixels, one
shape, no empty split) needs no second check in training or evaluation.
"""

import dataclasses

import numpy as np

SPLITS = ("train", "validation", "test")


class DataError(ValueError):
    """Image data that is missing, torn or of the wrong kind; the message says which and why."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Images of one data set, split for training, tuning and the final score.

    Args:
        name: what was asked for, for example `photo_patches/32x32`; opens every error message.
        train: uint8 `[N, H, W, C]`, pixel values 0 to 255, `C` 1 or 3, at least one image.
        validation: as `train`, with the same `H`, `W` and `C`; its `N` is its own.
        test: as `validation`.
        description: where the images come from and how the splits were made.
        jpeg_method: how JPEG files among them were decoded, by TensorFlow's name: `INTEGER_ACCURATE`
            as Pillow does, or `INTEGER_FAST` as TFDS does. Pixels differ by it, and so do scores.

    Raises:
        DataError: an array of another type, rank or channel count, an empty split, or splits of
            different image shapes.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    description: str = ""
    jpeg_method: str = "INTEGER_ACCURATE"

    def __post_init__(self):
        for split in SPLITS:
            images = getattr(self, split)
            if not isinstance(images, np.ndarray):
                raise DataError(
                    f"{self.name}: `{split}` must be a NumPy array; got {type(images).__name__}"
                )
            found = f"{images.dtype} {list(images.shape)}"
            if images.dtype != np.uint8 or images.ndim != 4:
                raise DataError(
                    f"{self.name}: `{split}` must be a uint8 array of shape [N, H, W, C]; "
                    f"got {found}"
                )
            if 0 in images.shape:
                raise DataError(f"{self.name}: `{split}` must hold at least one image; got {found}")
            if images.shape[-1] not in (1, 3):
                raise DataError(
                    f"{self.name}: `{split}` must have 1 or 3 channels, the last axis; got {found}"
                )
            if images.shape[1:] != self.train.shape[1:]:
                raise DataError(
                    f"{self.name}: `{split}` must have the image shape of `train`, "
                    f"{list(self.train.shape[1:])}; got {list(images.shape[1:])}"
                )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`, the same for every split."""
        return self.train.shape[1:]
