"""What a source decodes into: arrays by name, each filled from its first image to its last."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["Filling", "MemoryFilling", "Sink"]


class Sink(abc.ABC):
    """One array that is being filled.

    Attributes:
        filled: images in it: more than 0 at the beginning where an interrupted decoding goes on.
        is_whole: whether it was finished before.
    """

    filled: int = 0
    is_whole: bool = False

    @abc.abstractmethod
    def append(self, images: np.ndarray) -> None:
        """Adds `[n, H, W, C]`, of the shape and dtype of those before; they are copied."""


class Filling(abc.ABC):
    """The arrays of one data set.

    Attributes:
        state: what the source said of itself where an interrupted decoding goes on; None at a beginning.
    """

    state: Any = None

    @abc.abstractmethod
    def array(
        self, name: str, count: int | None, state: Callable[[], Any] | None = None
    ) -> contextlib.AbstractContextManager[Sink]:
        """The array `name`, which is whole when the block ends without an error.

        Args:
            count: images at most; None = not known.
            state: what `Filling.state` is to be where decoding goes on behind the last image that was
                appended; such as JSON can hold.
        """

    @abc.abstractmethod
    def forget(self) -> None:
        """Drops all that was filled, as if nothing had been begun."""


class MemoryFilling(Filling):
    """Arrays in memory; `arrays` has those that are whole, by name."""

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}

    @contextlib.contextmanager
    def array(
        self, name: str, count: int | None, state: Callable[[], Any] | None = None
    ) -> Iterator[Sink]:
        sink = _MemorySink(count)
        yield sink
        self.arrays[name] = sink.array()

    def forget(self) -> None:
        self.arrays = {}


class _MemorySink(Sink):
    """Filled in place where the count is known: ImageNet at 64x64 should not be held twice."""

    def __init__(self, count: int | None):
        self._count = count
        self._parts: list[np.ndarray] = []

    def append(self, images: np.ndarray) -> None:
        if self._count is None:
            self._parts.append(np.array(images))
        else:
            if not self._parts:
                self._parts = [np.empty((self._count, *images.shape[1:]), images.dtype)]
            self._parts[0][self.filled : self.filled + len(images)] = images
        self.filled += len(images)

    def array(self) -> np.ndarray:
        if not self._parts:
            return np.zeros((0, 0, 0, 3), np.uint8)
        whole = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        return whole[: self.filled]
