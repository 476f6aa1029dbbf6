"""Rows decoded by a few threads, a few batches ahead, and never more of them."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lcma_tf.batch.pictures import Pictures
from lcma_tf.batch.rows import Content, Rows
from lcma_tf.image_files import ImageFileError

__all__ = ["AHEAD", "Batch", "batch_of", "batches", "decoded"]

AHEAD = 2  # Batches that are decoded while one is scored.
_MAX_THREADS = 8  # Each may hold one whole picture.


class Batch(NamedTuple):
    """Consecutive rows.

    Args:
        names: of all of them, in order.
        errors: likewise, why a row has no image; "" = it has one.
        images: uint8 `[n, H, W, C]` of the rows that have, in order.
    """

    names: list[str]
    errors: list[str]
    images: np.ndarray


def batches(rows: Rows, start: int, batch_size: int, pictures: Pictures) -> Iterator[Batch]:
    """The rows from `start` on, `batch_size` at a time, the last batch smaller.

    At most `AHEAD + 2` batches are alive, the one that the caller has among them, and a whole picture
    for each thread.

    Raises:
        BatchError: what reading the rows raises.
    """
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    pool = concurrent.futures.ThreadPoolExecutor(threads, "decode")
    waiting: collections.deque[tuple[list[str], list[concurrent.futures.Future]]]
    waiting = collections.deque()
    try:
        source = rows.read(start)
        while group := list(itertools.islice(source, batch_size)):
            waiting.append(
                (
                    [row.name for row in group],
                    [pool.submit(decoded, row.content, pictures) for row in group],
                )
            )
            del group  # The contents are the threads' now.
            if len(waiting) > AHEAD:
                yield _batch(*waiting.popleft(), pictures)
        while waiting:
            yield _batch(*waiting.popleft(), pictures)
    finally:
        pool.shutdown(cancel_futures=True)


def decoded(content: Content, pictures: Pictures) -> np.ndarray | str:
    """The image in `content`, or why there is none."""
    try:
        return pictures.image(content)
    except ImageFileError as error:
        return str(error)


def _batch(names: list[str], futures: list[concurrent.futures.Future], pictures: Pictures) -> Batch:
    return batch_of(names, [future.result() for future in futures], pictures)


def batch_of(names: Sequence[str], found: Sequence[np.ndarray | str], pictures: Pictures) -> Batch:
    """The batch of rows of such names, of which `decoded` gave this by `pictures`."""
    images = [image for image in found if not isinstance(image, str)]
    errors = [error if isinstance(error, str) else "" for error in found]
    empty = np.zeros((0, *pictures.image_shape), np.uint8)
    return Batch([*names], errors, np.stack(images) if images else empty)
