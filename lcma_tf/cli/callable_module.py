"""Modules of commands that stand in the package where a function of the same name does."""

from __future__ import annotations

import importlib
import sys
import types

__all__ = ["make_callable"]


def make_callable(module: str, place: str) -> None:
    """Lets `module` be called in the place of a function, which is imported when it is.

    Imported, a module `lcma_tf.train` takes the name of the function `lcma_tf.train` in the package.

    Args:
        module: by its name in `sys.modules`.
        place: of the function, `"module:name"`.
    """

    class Callable(types.ModuleType):
        def __call__(self, *args, **kwargs):
            owner, _, name = place.partition(":")
            return getattr(importlib.import_module(owner), name)(*args, **kwargs)

    sys.modules[module].__class__ = Callable
