"""Something around the import of a package, whoever imports it, and when."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator

__all__ = ["during_import"]

Around = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def during_import(name: str, around: Around) -> Iterator[None]:
    """If package `name` is imported in the block, and was not before, `around()` holds meanwhile."""
    if name in sys.modules:
        yield
        return
    hook = _Finder(name, around)
    sys.meta_path.insert(0, hook)
    try:
        yield
    finally:
        sys.meta_path.remove(hook)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds one package by the finders after it."""

    def __init__(self, name: str, around: Around):
        self._name = name
        self._around = around

    def find_spec(self, fullname, path, target=None):
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)  # Whoever looks for it need not load it.
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._around)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads what another loader loads."""

    def __init__(self, loader: importlib.abc.Loader, around: Around):
        self._loader = loader
        self._around = around

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader  # From here on nobody can tell.
        with self._around():
            self._loader.exec_module(module)
