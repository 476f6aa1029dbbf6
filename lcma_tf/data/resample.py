"""Ways to shrink a photograph, by name: likelihoods differ by them, and published figures too.

The names are those of `lcma_tf.choices.RESAMPLERS`.

`program`: bilinear between the four nearest pixels, sampled at `i * old / new` from the corner, no
antialiasing, not rounded. It is `tf.image.resize_images` of TensorFlow 1, as the RealNVP program
(tensorflow/models, `research/real_nvp`) calls it before it adds noise; the port to TensorFlow 2 that
is there today samples at pixel centres instead. Most pixels are skipped, so fine detail stays, and
the values are real numbers: see `ImageData` for what their likelihood means.

`antialias`: Pillow's bilinear filter, which widens with the factor, rounded to 8 bits. It is what
torchvision's `Resize` makes of a Pillow image, and thus of SurVAE's and DenseFlow's CelebA.
"""

import numpy as np
from PIL import Image


def program(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 `[H, W, C]` to float32 `[size, size, C]`, values within 0..255."""
    image = image.astype(np.float32)
    top, bottom, down = _neighbours(image.shape[0], size)
    left, right, across = _neighbours(image.shape[1], size)
    across, down = across[:, None], down[:, None, None]
    # Along rows, then between rows: TensorFlow's order, for its very rounding.
    rows = image[:, left] + (image[:, right] - image[:, left]) * across
    return rows[top] + (rows[bottom] - rows[top]) * down


def antialias(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 `[H, W, C]` to uint8 `[size, size, C]`, `C` 1 or 3."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.atleast_3d(np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)))


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel the old one before it, the one after, and how far it is between them."""
    position = np.arange(new, dtype=np.float32) * np.float32(old / new)
    before = np.floor(position).astype(int)
    return before, np.minimum(before + 1, old - 1), position - before.astype(np.float32)


DEFAULT_RESAMPLER = "antialias"  # The one that 8-bit codes bound.
