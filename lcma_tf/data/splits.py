"""A validation and a test split for sets that come without one."""

import numpy as np

from lcma_tf.data.image_data import DataError, ImageData

MAX_CUT = 5_000
MAX_VALIDATION_SHARE = 0.5
IN_MEMORY = "in_memory"  # The name of a set that was given as arrays, and cannot be loaded again.


def shares(validation_share: float) -> dict[str, float]:
    """The shares of `validation` and of a `test` that has to be made too, where a set has neither.

    The test images are as many, but never more than half of what validation leaves to training.
    """
    return {
        "validation": validation_share,
        "test": min(validation_share, (1 - validation_share) / 2),
    }


def with_all_splits(
    name: str,
    arrays: dict[str, np.ndarray],
    source: str = "",
    jpeg_method: str = "INTEGER_ACCURATE",
    validation_share: float | None = None,
) -> ImageData:
    """`ImageData` of what a set has: `train`, and perhaps `validation` and `test`.

    Without `test`, `validation` is scored as test, as papers on flows do for ImageNet. Without
    (another) `validation`, the last 10 % of train, at most 5,000 images, or the last
    `validation_share` of it, are it. With train alone it gives up two such parts (`shares`). What was
    done is added to the description. No pixel is copied.

    Args:
        name: of the set, opens error messages.
        arrays: the splits that there are.
        source: first sentences of the description.
        jpeg_method: as for `ImageData`.
        validation_share: of train, in (0, 0.5]; None = as above.

    Raises:
        DataError: too few training images to cut a split out of them, or a `validation_share` for a
            set that needs none.
    """
    arrays, notes = dict(arrays), [source] if source else []
    if validation_share is not None and {"test", "validation"} <= arrays.keys():
        raise DataError(
            f"{name}: `validation_share` must be None, as the set has a validation and a test split "
            f"of its own; got {validation_share}"
        )
    num_images = _count(arrays["train"])
    if "test" not in arrays and "validation" in arrays:
        arrays["test"] = arrays.pop("validation")
        notes.append("Its own validation split is scored as test.")
    for split in ("test", "validation"):
        if split not in arrays:
            train = arrays["train"]
            if validation_share is None:
                cut = min(MAX_CUT, _count(train) // 10) or 1
            else:
                cut = round(shares(validation_share)[split] * num_images) or 1
            if _count(train) <= cut:
                raise DataError(
                    f"{name}: `train` must have more than {cut} images, as `{split}` is cut out of "
                    f"it; got {_count(train)}"
                )
            arrays["train"], arrays[split] = train[:-cut], train[-cut:]
            notes.append(f"The {split} images are the last {cut} of its train split.")
    return ImageData(
        name,
        arrays["train"],
        arrays["validation"],
        arrays["test"],
        description=" ".join(notes),
        jpeg_method=jpeg_method,
    )


def from_array(images: np.ndarray) -> ImageData:
    """`ImageData` of images in memory, uint8 `[N, H, W, C]`; `validation` and `test` are cut out.

    Raises:
        DataError: an array of another type, rank or number of channels, or of less than three images.
    """
    found = type(images).__name__
    if isinstance(images, np.ndarray):
        found = f"{images.dtype} {list(images.shape)}"
    is_array = isinstance(images, np.ndarray) and images.dtype in (np.uint8, np.float32)
    if not is_array or images.ndim != 4 or len(images) < 3:
        raise DataError(
            "`images` must be an array [N, H, W, C] of at least 3 images, as some are kept for "
            f"validation and test, of uint8 pixels 0..255; got {found}"
        )
    return with_all_splits(IN_MEMORY, {"train": images}, "Images given as an array.")


def _count(images: np.ndarray) -> int:
    return images.shape[0] if images.ndim else 0
