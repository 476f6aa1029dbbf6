"""What lossless image codecs need for the same images: the figures a flow is held against.

Each image is a file of its own, as a flow codes each image by itself, and only the coded pixels
are counted. At 32x32 the fixed parts of a PNG file alone would add 0.15 bits/dim and flatter us.
"""

import concurrent.futures
import io
import struct

import numpy as np
from PIL import Image

from lcma_tf.data.image_data import DataError


def codec_bits_per_dim(images: np.ndarray, codec: str) -> float:
    """Mean bits per dimension over images, without the container's overhead.

    bits/dim = 8 * (payload bytes) / (H * W * C), averaged over the images.

    Args:
        images: uint8 `[N, H, W, C]`, `C` 1 or 3, `N` at least 1.
        codec: `png` (Pillow, `optimize`; the data of the IDAT chunks) or `webp` (Pillow, lossless
            at its slowest; the data of the VP8L chunk). WebP has no grey: a grey image is coded
            as RGB, but divided by its own `H * W`. It takes about 20 ms an image.

    Raises:
        DataError: an unknown codec, or images of another type or shape.
    """
    if not isinstance(codec, str) or codec not in CODECS:
        raise DataError(f"`codec` must be one of {', '.join(CODECS)}; got {codec!r}")
    if not isinstance(images, np.ndarray):
        raise DataError(f"`images` must be a NumPy array; got {type(images).__name__}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise DataError(
            "`images` must be a uint8 array of shape [N, H, W, 1 or 3]; "
            f"got {images.dtype} {list(images.shape)}"
        )
    if images.size == 0:
        raise DataError(f"`images` must hold at least one image; got shape {list(images.shape)}")
    # Threads help: Pillow's encoders let go of Python's lock while they work.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        payload = sum(pool.map(CODECS[codec], images))
    return 8.0 * payload / images.size


def _png_payload(image: np.ndarray) -> int:
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    data, position, payload = file.getvalue(), 8, 0  # The signature is 8 bytes.
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        payload += length if kind == b"IDAT" else 0
        position += 12 + length  # Length, kind and checksum, 4 bytes each.
    return payload


def _webp_payload(image: np.ndarray) -> int:
    picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)).copy())
    file = io.BytesIO()
    picture.save(file, format="WEBP", lossless=True, quality=100, method=6)
    data, position, payload = file.getvalue(), 12, 0  # RIFF, file size, WEBP.
    while position < len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        payload += length if kind == b"VP8L" else 0
        position += 8 + length + length % 2  # Chunks are padded to an even length.
    return payload


# Codec -> function from one image uint8 [H, W, C] to its payload in bytes.
CODECS = {"png": _png_payload, "webp": _webp_payload}
