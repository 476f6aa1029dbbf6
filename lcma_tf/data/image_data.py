"""One image data set, in memory or mapped: three splits of one image shape and one dtype.

Everything above the loaders sees only this class, so whatever holds for it (pixels of 0 to 255, one
shape, no empty split) needs no second check in training or evaluation.
"""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import numpy as np

from lcma_tf.data.fingerprint import fingerprint_of_images
from lcma_tf.errors import UserError
from lcma_tf.integers import is_integer

SPLITS = ("train", "validation", "test")


class DataError(UserError, ValueError):
    """Image data that is missing, torn or of the wrong kind; the message says which and why."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """Images of one data set, split for training, tuning and the final score.

    Pixels are uint8, or float32 where a recipe leaves them real (`celeb_a` with the resampler
    `program`). The likelihood of both is the density of `x + u`, `u` uniform in [0, 1). Its log
    bounds the log-probability of an 8-bit `x` from below, so that bits/dim are bits of a code. Of
    a real-valued `x` it bounds nothing: no discrete image has that density, and the figure is to be
    compared only with figures of the same recipe.

    Padded images (`padded`) hold a frame of zeros. Their whole log-probability, the frame's share
    included, bounds that of the picture alone, because `P(picture) >= P(picture, frame)`. So divide
    it by `num_original_dimensions` for bits/dim that compare with those of unpadded images;
    divided by `H * W * C` it would look better by the share of the frame.

    Args:
        name: what was asked for, for example `photo_patches/32x32`; opens every error message.
        train: uint8 or float32 `[N, H, W, C]`, pixel values 0 to 255, `C` 1 or 3, at least one
            image.
        validation: as `train`, with the same dtype, `H`, `W` and `C`; its `N` is its own.
        test: as `validation`.
        description: where the images come from and how the splits were made.
        jpeg_method: how JPEG files among them were decoded, by TensorFlow's name: `INTEGER_ACCURATE`
            as Pillow does, or `INTEGER_FAST` as TFDS does. Pixels differ by it, and so do scores.
        original_shape: `(h, w, C)` of the picture in the middle of each image, where a frame of
            zeros was put around it; None is the whole image.

    Raises:
        DataError: an array of another type, rank or channel count, an empty split, splits of
            different image shapes or dtypes, real pixels that are not finite, beyond 0..255 or all
            within 0..1, or an `original_shape` that does not fit in.

    Example:
        ```python
        import numpy as np

        import lcma_tf

        images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3), dtype=np.uint8)
        train, validation, test = np.split(images, [80, 90])
        data = lcma_tf.data.ImageData("mine", train, validation, test)
        assert data.image_shape == (8, 8, 3)
        ```
    """

    ARRAYS: ClassVar[tuple[str, ...]] = SPLITS  # The names of what holds pixels.

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    description: str = ""
    jpeg_method: str = "INTEGER_ACCURATE"
    original_shape: tuple[int, int, int] = None  # pyright: ignore[reportAssignmentType]  # Set below.

    def __post_init__(self):
        for split in SPLITS:
            images = getattr(self, split)
            check_images(self.name, split, images)
            if images.shape[1:] != self.train.shape[1:]:
                raise DataError(
                    f"{self.name}: `{split}` must have the image shape of `train`, "
                    f"{list(self.train.shape[1:])}; got {list(images.shape[1:])}"
                )
            if images.dtype != self.train.dtype:
                raise DataError(
                    f"{self.name}: `{split}` must have the dtype of `train`, {self.train.dtype}; "
                    f"got {images.dtype}"
                )
        if self.original_shape is None:
            object.__setattr__(self, "original_shape", self.image_shape)
        check_original_shape(self.name, self.original_shape, self.image_shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`, the same for every split."""
        return self.train.shape[1:]

    @property
    def is_real_valued(self) -> bool:
        """Whether pixels are real numbers instead of 8-bit ones."""
        return self.train.dtype == np.float32

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these images from any others, split by split: see `fingerprint_of_images`.

        Reads all of the pixels, once.
        """
        return {split: fingerprint_of_images(getattr(self, split)) for split in SPLITS}

    def flow_options(self) -> dict[str, Any]:
        """The fields of `lcma_tf.FlowConfig` that a flow of these images has, by name."""
        is_padded = self.original_shape != self.image_shape
        return {
            "image_shape": self.image_shape,
            "original_shape": self.original_shape if is_padded else None,
            "real_valued": self.is_real_valued,
        }

    @property
    def num_original_dimensions(self) -> int:
        """h * w * C of the picture without the frame that padding put around it."""
        return math.prod(self.original_shape)


def check_original_shape(name: str, original_shape: Any, image_shape: tuple[int, ...]) -> None:
    """Raises `DataError` unless a picture of `original_shape` fits into an image."""
    height, width, channels = image_shape
    inner = list(original_shape) if isinstance(original_shape, tuple | list) else original_shape
    if not (
        isinstance(inner, list)
        and len(inner) == 3
        and all(map(is_count, inner))
        and 1 <= inner[0] <= height
        and 1 <= inner[1] <= width
        and inner[2] == channels
    ):
        raise DataError(
            f"{name}: `original_shape` must be (h, w, C) within the images' {list(image_shape)}; "
            f"got {inner}"
        )


def is_count(value: Any, least: int = 1) -> bool:
    """Whether `value` is an integer of at least so many."""
    return is_integer(value) and bool(value >= least)


def check_images(name: str, split: str, images: np.ndarray) -> None:
    """Raises `DataError` unless these can be the images of a data set: see `ImageData`."""
    if not isinstance(images, np.ndarray):
        raise DataError(f"{name}: `{split}` must be a NumPy array; got {type(images).__name__}")
    found = f"{images.dtype} {list(images.shape)}"
    if images.dtype not in (np.uint8, np.float32) or images.ndim != 4:
        raise DataError(
            f"{name}: `{split}` must be a uint8 or float32 array of shape [N, H, W, C]; got {found}"
        )
    if 0 in images.shape:
        raise DataError(f"{name}: `{split}` must hold at least one image; got {found}")
    if images.shape[-1] not in (1, 3):
        raise DataError(f"{name}: `{split}` must have 1 or 3 channels, the last axis; got {found}")
    if images.dtype == np.float32:
        _check_real_pixels(name, split, images)


def _check_real_pixels(name: str, split: str, images: np.ndarray) -> None:
    # Least and greatest alone: a mask of all pixels would need a quarter of their memory.
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 255):  # Also where NaN made both of them NaN.
        raise DataError(
            f"{name}: `{split}` must have finite pixels within 0..255; got values from {low:g} to "
            f"{high:g}"
        )
    if split == "train" and 0 < high <= 1:
        raise DataError(
            f"{name}: `{split}` must have pixels on the scale 0..255; got none above {high:g}, which "
            "looks like a scale of 0..1"
        )
