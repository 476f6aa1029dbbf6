"""The images of one split, or of a folder as a whole: what is scored, with the names of its files."""

import dataclasses
import functools
import math
from typing import Any, ClassVar

import numpy as np

from lcma_tf.data.fingerprint import fingerprint_of_images
from lcma_tf.data.image_data import ImageData, check_images, check_original_shape

WHOLE = "all"  # The name of what has no splits.


@dataclasses.dataclass(frozen=True, eq=False)
class OneSplit:
    """Images that are scored; what `ImageData` says of pixels and padding holds here too.

    Args:
        name: of the data set, for example `image_folder:holidays`.
        split: `train`, `validation` or `test`; `all` is a set without splits, whole.
        images: uint8 or float32 `[N, H, W, C]`, pixel values 0 to 255, `C` 1 or 3, at least one image.
        description: where the images come from and what was done to them.
        jpeg_method: as for `ImageData`.
        original_shape: as for `ImageData`.
        file_names: of each image the name of its file relative to the folder; None: the source has no
            such names.

    Raises:
        DataError: an array that `ImageData` would refuse as its `train`.

    Example:
        ```python
        import numpy as np

        import lcma_tf

        images = np.zeros((10, 8, 8, 3), np.uint8)
        split = lcma_tf.data.OneSplit("mine", "test", images)
        assert split.image_shape == (8, 8, 3)
        ```
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("images",)

    name: str
    split: str
    images: np.ndarray
    description: str = ""
    jpeg_method: str = "INTEGER_ACCURATE"
    original_shape: tuple[int, int, int] = None  # pyright: ignore[reportAssignmentType]  # Set below.
    file_names: tuple[str, ...] | None = None

    def __post_init__(self):
        check_images(self.name, self.split, self.images)
        if self.original_shape is None:
            object.__setattr__(self, "original_shape", self.image_shape)
        check_original_shape(self.name, self.original_shape, self.image_shape)

    @classmethod
    def of(cls, data: ImageData, split: str) -> "OneSplit":
        """One split of a whole set; no pixel is copied."""
        return cls(
            data.name,
            split,
            getattr(data, split),
            data.description,
            data.jpeg_method,
            data.original_shape,
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`."""
        return self.images.shape[1:]

    @property
    def is_real_valued(self) -> bool:
        """Whether pixels are real numbers instead of 8-bit ones."""
        return self.images.dtype == np.float32

    @property
    def num_original_dimensions(self) -> int:
        """h * w * C of the picture without the frame that padding put around it."""
        return math.prod(self.original_shape)

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these images from any others: see `fingerprint_of_images`. Reads them all, once."""
        return fingerprint_of_images(self.images)
