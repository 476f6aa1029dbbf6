"""The moments at which this process is about to change a file: to look at a folder, or to stop there.

Python announces each of its file operations to its audit hooks, also those that NumPy, Pillow,
matplotlib and zipfile make. HDF5 and TensorFlow's event files, which C++ writes, do not show.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

__all__ = ["Moment", "each_moment"]

Moment = tuple[str, str]  # What is about to happen, and to which path below the folder.

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_listeners = []


@contextlib.contextmanager
def each_moment(folder: os.PathLike[str], happens: Callable[[Moment], None]) -> Iterator[None]:
    """Calls `happens` before each change below `folder`; what it raises takes the change's place.

    Moments are "open" (to write, or to sync what was written), "rename", by the name that is given,
    "remove" and "mkdir". What `happens` does itself is no moment.
    """
    listener = _Listener(os.path.realpath(folder) + os.sep, happens)
    if not _listeners:
        _listeners.append(listener)
        sys.addaudithook(lambda event, args: _listeners[0](event, args))  # For ever.
    _listeners[0] = listener
    try:
        yield
    finally:
        _listeners[0] = lambda event, args: None


class _Listener:
    def __init__(self, folder, happens):
        self._folder, self._happens, self._is_busy = folder, happens, False

    def __call__(self, event, args):
        if self._is_busy or event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        path = args[1] if event == "os.rename" else args[0]
        if not isinstance(path, str | os.PathLike):
            return
        path = os.fspath(path)
        is_read = event == "open" and not (args[2] or 0) & _WRITES
        if not path.startswith(self._folder) or (is_read and "unfinished_" not in path):
            return
        self._is_busy = True
        try:
            self._happens((event.removeprefix("os."), path.removeprefix(self._folder)))
        finally:
            self._is_busy = False
