"""Around the import of a package: what holds meanwhile, and what is as it was afterwards."""

import contextlib
import importlib
import sys

import pytest

from lcma_tf.cli import light_keras
from lcma_tf.cli.import_hooks import during_import

PACKAGE = """
try:
    import optional_package
    found = True
except ImportError:
    found = False
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The name of a package that asks for another one, both to be had and neither imported yet."""
    (tmp_path / "package_to_import.py").write_text(PACKAGE)
    (tmp_path / "optional_package.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield "package_to_import"
    for name in ("package_to_import", "optional_package"):
        sys.modules.pop(name, None)


def test_it_holds_from_the_beginning_of_the_import_to_its_end(package):
    seen = []

    @contextlib.contextmanager
    def around():
        seen.append((package in sys.modules, hasattr(sys.modules[package], "found")))
        yield
        seen.append(sys.modules[package].found)

    finders = list(sys.meta_path)
    with during_import(package, around):
        assert importlib.util.find_spec(package) and not seen  # Looked for, not loaded.
        module = importlib.import_module(package)
    assert seen == [(True, False), True]
    assert sys.meta_path == finders
    assert (
        type(module.__loader__).__name__
        == "SourceFileLoader"
        == type(module.__spec__.loader).__name__
    )
    with during_import(package, around):
        importlib.import_module(package)
    assert len(seen) == 2  # There already.


def test_what_is_not_needed_is_not_found_by_that_package_alone(package, monkeypatch):
    monkeypatch.setattr(light_keras, "_UNUSED", ("optional_package",))
    with during_import(package, light_keras._without_unused):
        assert not importlib.import_module(package).found
        importlib.import_module("optional_package")


def test_what_is_loaded_already_stays(package, monkeypatch):
    monkeypatch.setattr(light_keras, "_UNUSED", ("optional_package",))
    loaded = importlib.import_module("optional_package")
    with during_import(package, light_keras._without_unused):
        assert importlib.import_module(package).found
    assert sys.modules["optional_package"] is loaded
