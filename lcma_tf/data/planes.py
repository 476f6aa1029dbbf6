"""Rows of red, green and blue planes, the way CIFAR and the npz batches of ImageNet store images."""

import numpy as np

from lcma_tf.data.image_data import DataError


def images_of_rows(name: str, rows: np.ndarray, size: int) -> np.ndarray:
    """Rows uint8 `[N, 3 * size * size]` as images `[N, size, size, 3]`, a view.

    Raises:
        DataError: rows of another dtype or length; the message opens with `name`.
    """
    length = 3 * size * size
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != length:
        raise DataError(
            f"{name}: image rows must be uint8 [N, {length}], three planes of {size}x{size}; got "
            f"{rows.dtype} {list(rows.shape)}"
        )
    return rows.reshape(-1, 3, size, size).transpose(0, 2, 3, 1)
