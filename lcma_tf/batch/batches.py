"""Rows decoded by a few threads, a few batches ahead, and never more of them."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from lcma_tf.batch.pictures import Pictures
from lcma_tf.batch.rows import Content, Rows
from lcma_tf.image_files import ImageFileError

__all__ = ["AHEAD", "Batch", "batch_of", "batches", "decoded", "one_ahead"]

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 1  # Batches that are decoded while the next to be scored waits for its turn.
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

    At most `AHEAD + 1` batches are held here, besides those that the caller has, and a whole picture
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


def one_ahead(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`function` of each item, in order, by a thread that has the next one while the caller has this.

    By one thread alone: with oneDNN several runs of one graph at the same time are not safe.
    """
    with concurrent.futures.ThreadPoolExecutor(1, "ahead") as thread:
        made = None
        for item in items:
            following = thread.submit(function, item)
            if made is not None:
                yield made.result()
            made = following
        if made is not None:
            yield made.result()


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
