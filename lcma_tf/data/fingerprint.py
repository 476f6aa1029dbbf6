"""What tells the images of one run from any others: of every split the count, the kind, and a digest."""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["differences", "digest_of_block", "fingerprint_of_images", "rows_of_block"]

_BLOCK = 1 << 24  # Bytes digested by one thread at a time; part of the definition.


def fingerprint_of_images(images: np.ndarray, known: Sequence[bytes] = ()) -> dict[str, Any]:
    """Of `[N, H, W, C]`: `images`, `image_shape`, `dtype`, and `digest` of every byte in order.

    The digest is BLAKE2b over the BLAKE2b digests of blocks of whole images, of up to 16 MiB, so that
    several cores can share the work. JSON can hold it all.

    Args:
        known: digests of the first blocks of these images, or of an array that begins with them: full
            ones among them are taken as they are.
    """
    rows = rows_of_block(images[:1].nbytes)
    num_known = min(len(known), len(images) // rows)
    starts = range(num_known * rows, len(images), rows)
    blocks = [images[start : start + rows] for start in starts]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # hashlib lets go of Python's lock.
        digests = b"".join([*known[:num_known], *pool.map(digest_of_block, blocks)])
    return {
        "images": len(images),
        "image_shape": list(images.shape[1:]),
        "dtype": str(images.dtype),
        "digest": hashlib.blake2b(digests, digest_size=16).hexdigest(),
    }


def rows_of_block(image_bytes: int) -> int:
    """How many images of so many bytes a block has."""
    return max(1, _BLOCK // max(1, image_bytes))


def digest_of_block(block: np.ndarray) -> bytes:
    """BLAKE2b of the bytes of an array, in C order."""
    return hashlib.blake2b(np.ascontiguousarray(block).data, digest_size=16).digest()


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, split by split, how two fingerprints of data sets differ; empty if they do not."""
    found = []
    for split in sorted(there.keys() | now.keys()):
        ours, theirs = now.get(split), there.get(split)
        if ours != theirs:
            same_kind = _kind(ours) == _kind(theirs)
            told = f"other pixels in {_kind(ours)}" if same_kind else ""
            found.append(f"{split}: {told or f'{_kind(theirs)} there and {_kind(ours)} now'}")
    return found


def _kind(split: Any) -> str:
    if not isinstance(split, Mapping):
        return "nothing"
    shape = "x".join(map(str, split.get("image_shape", ())))
    return f"{split.get('images')} images of {shape} {split.get('dtype')}"
