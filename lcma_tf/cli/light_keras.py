"""The import of Keras without what no command needs of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from lcma_tf.cli.import_hooks import during_import

__all__ = ["light_keras"]

# Keras loads them, where they are installed, for its wrappers and its galleries of images: a good
# second before any command begins.
_UNUSED = ("matplotlib", "sklearn")


@contextlib.contextmanager
def light_keras() -> Iterator[None]:
    """If Keras is imported in the block, and was not before, it finds neither matplotlib nor sklearn.

    Whoever asks for them afterwards does; Keras' own galleries and wrappers then say that they are not
    installed. For programs that are ours alone: not for `import lcma_tf`.
    """
    with during_import("keras", _without_unused):
        yield


@contextlib.contextmanager
def _without_unused() -> Iterator[None]:
    hidden = [name for name in _UNUSED if name not in sys.modules]
    hiding = dict.fromkeys(hidden)  # Python's own sign of a module that is not to be found.
    sys.modules.update(hiding)  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
