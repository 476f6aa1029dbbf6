"""Requests of a size that a server takes, and answers that are what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.transport import OUTPUTS, ServingError

__all__ = ["ROW_OVERHEAD", "check_answer", "chunks"]

ROW_OVERHEAD = 16  # Bytes around a file in a message.


def chunks(inputs: Mapping[str, np.ndarray], max_rows: int, max_bytes: int) -> Iterator[slice]:
    """Rows of `inputs` that may go into one request, in order.

    Raises:
        RequestError: a row is too large for any.
    """
    sizes = sum(_row_bytes(array) for array in inputs.values())
    start, total = 0, 0
    for row, size in enumerate(np.asarray(sizes).tolist()):
        if size > max_bytes:
            raise RequestError(
                f"a row must have at most `max_message_bytes` = {max_bytes} bytes; "
                f"row {row} has {size}."
            )
        if row - start == max_rows or total + size > max_bytes:
            yield slice(start, row)
            start, total = row, 0
        total += size
    yield slice(start, len(next(iter(inputs.values()))))


def _row_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == object:
        return np.array([len(data) + ROW_OVERHEAD for data in array])
    return np.full(len(array), array.nbytes // len(array))


def check_answer(signature: str, answer: Mapping[str, np.ndarray], rows: int) -> None:
    """Raises `ServingError` unless `answer` has what the signature promises, for so many rows."""
    for name in OUTPUTS[signature]:
        array = answer.get(name)
        if array is None or array.shape[:1] != (rows,):
            found = "nothing" if array is None else f"shape {list(array.shape)}"
            raise ServingError(
                "INTERNAL", f"`{signature}` must answer `{name}` with {rows} rows; got {found}"
            )
