"""A stand-in for the batching of TensorFlow Serving: its rules, read in its source, in NumPy.

Requests for the same signature and outputs wait in one queue and are run as one. Left out: deadlines,
splitting of large requests, padding to allowed sizes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import numpy as np

INVALID_ARGUMENT, FAILED_PRECONDITION, INTERNAL, UNAVAILABLE = 3, 9, 13, 14

Arrays = Mapping[str, np.ndarray]
Run = Callable[[str, Arrays, Sequence[str]], Arrays]


class StandInError(Exception):
    """A status: its TensorFlow code and message."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class Task:
    """A request that waits in a queue."""

    inputs: Arrays
    rows: int
    answer: Future = dataclasses.field(default_factory=Future)


def count_rows(inputs: Arrays) -> int:
    """Dimension 0 of every input; without one that all share a request cannot be merged."""
    if any(array.ndim == 0 for array in inputs.values()):
        raise StandInError(
            INVALID_ARGUMENT, "Batching input tensors must have at least one dimension"
        )
    rows = {len(array) for array in inputs.values()}
    if len(rows) != 1:
        raise StandInError(
            INVALID_ARGUMENT,
            "Batching input tensors supplied in a given call must have equal 0th-dim",
        )
    return rows.pop()


def run_merged(run: Run, signature: str, outputs: Sequence[str], tasks: Sequence[Task]) -> None:
    """Runs tasks as one and gives each its rows, or all of them the one error."""
    try:
        merged = {
            name: _merge(name, [task.inputs[name] for task in tasks]) for name in tasks[0].inputs
        }
        answer = run(signature, merged, outputs)
        total = sum(task.rows for task in tasks)
        for name, array in answer.items():
            if array.ndim == 0 or len(array) != total:
                raise StandInError(
                    FAILED_PRECONDITION,
                    f"Batched output tensor {name} has 0th dimension unequal to the sum of the inputs'",
                )
    except Exception as error:
        for task in tasks:
            task.answer.set_exception(error)
        return
    start = 0
    for task in tasks:
        end = start + task.rows
        task.answer.set_result({name: array[start:end] for name, array in answer.items()})
        start = end


def _merge(name: str, arrays: Sequence[np.ndarray]) -> np.ndarray:
    if len({array.shape[1:] for array in arrays}) > 1:
        raise StandInError(
            FAILED_PRECONDITION, f"Tensors of {name} have different shapes in a batch"
        )
    if len({array.dtype for array in arrays}) > 1:
        raise StandInError(INTERNAL, f"Tensors of {name} have different types in a batch")
    return np.concatenate(arrays)


class Batching:
    """Merges the requests of several threads.

    A batch is closed when it is full, when the next request would not fit, or `timeout` seconds after
    its first request came. `batches` lists what was run: `(signature, rows of each request)`.

    Args:
        run: of `(signature, inputs, outputs)`.
        max_batch_size: rows of a batch.
        timeout: seconds; may be changed at any time.
        max_enqueued_batches: of each queue, beyond which requests are refused.
        num_batch_threads: batches run at once, over all queues; None is one of each queue.
    """

    def __init__(
        self,
        run: Run,
        max_batch_size: int = 64,
        timeout: float = 0.0,
        max_enqueued_batches: int = 10,
        num_batch_threads: int | None = None,
    ):
        self._run = run
        self._free_threads = (
            threading.Semaphore(num_batch_threads)
            if num_batch_threads
            else contextlib.nullcontext()
        )
        self._max_batch_size = max_batch_size
        self.timeout = timeout
        self._max_enqueued_batches = max_enqueued_batches
        self.batches: list[tuple[str, list[int]]] = []
        self._changed = threading.Condition()
        # Of each (signature, outputs): batches of tasks, and when the last of them was begun.
        self._queues: dict[tuple[str, frozenset[str]], list[tuple[float, list[Task]]]] = {}
        self._threads: list[threading.Thread] = []
        self._closed = False

    def call(self, signature: str, inputs: Arrays, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        """The request's rows of the outputs, once its batch has been run."""
        task = Task(inputs, count_rows(inputs))
        if task.rows > self._max_batch_size:
            raise StandInError(
                INVALID_ARGUMENT,
                f"Task size {task.rows} is larger than maximum input batch size {self._max_batch_size}",
            )
        key = signature, frozenset(outputs)
        with self._changed:
            if key not in self._queues:
                self._queues[key] = []
                self._threads.append(threading.Thread(target=self._work, args=key, daemon=True))
                self._threads[-1].start()
            queue = self._queues[key]
            if not queue or self._rows(queue[-1][1]) + task.rows > self._max_batch_size:
                if len(queue) >= self._max_enqueued_batches:
                    raise StandInError(
                        UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full",
                    )
                queue.append((time.monotonic(), []))
            queue[-1][1].append(task)
            self._changed.notify_all()
        return task.answer.result()

    def close(self) -> None:
        """Runs what waits and ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _rows(tasks: Sequence[Task]) -> int:
        return sum(task.rows for task in tasks)

    def _work(self, signature: str, outputs: frozenset[str]) -> None:
        queue = self._queues[signature, outputs]
        while self._wait(queue):
            # A batch grows until a thread is free for it.
            with self._free_threads:
                with self._changed:
                    _, tasks = queue.pop(0)
                    self.batches.append((signature, [task.rows for task in tasks]))
                run_merged(self._run, signature, sorted(outputs), tasks)

    def _wait(self, queue: list[tuple[float, list[Task]]]) -> bool:
        """Until a batch is ready; False if none will be."""
        with self._changed:
            while not self._is_ready(queue):
                if self._closed and not queue:
                    return False
                wait = queue[0][0] + self.timeout - time.monotonic() if queue else None
                self._changed.wait(wait)
        return True

    def _is_ready(self, queue: list[tuple[float, list[Task]]]) -> bool:
        if not queue:
            return False
        begun, tasks = queue[0]
        full = len(queue) > 1 or self._rows(tasks) >= self._max_batch_size
        return full or self._closed or time.monotonic() >= begun + self.timeout
