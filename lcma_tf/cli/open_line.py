"""Whether the last line on standard output is ended: that of a progress bar is not, before its end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["open_line_ended"]


class _Noting:
    """A stream that knows whether what was written to it ends a line."""

    def __init__(self, stream: Any):
        self._stream = stream
        self.is_open = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text:
            self.is_open = not text.endswith("\n")
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def open_line_ended() -> Iterator[None]:
    """Ends the line of a bar where an error ends the block, so that what is said of it has its own."""
    noting = _Noting(sys.stdout)
    with contextlib.redirect_stdout(noting):
        try:
            yield
        except Exception:
            if noting.is_open:
                print(flush=True)
            raise
