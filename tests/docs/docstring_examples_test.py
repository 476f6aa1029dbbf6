"""Every public class has an example in its docstring, and it runs as it stands.

Public is what the API page lists. Errors, protocols and types of tuples and dicts need none.
"""

import importlib
import inspect
import re
import textwrap

import pytest

from documents import blocks_of, read


def public_classes():
    for name in re.findall(r"^::: ([\w.]+)$", read("docs/api.md"), flags=re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        found = getattr(importlib.import_module(module), attribute, None)
        if not inspect.isclass(found) or issubclass(found, Exception | tuple | dict):
            continue
        if not getattr(found, "_is_protocol", False):
            yield pytest.param(found, id=name)


@pytest.mark.parametrize("owner", list(public_classes()))
def test_the_example_of_a_class_runs(owner, tmp_path, monkeypatch, served):
    _, example, text = inspect.getdoc(owner).partition("\nExample:\n")
    assert example, f"{owner.__name__} has no example."
    text = textwrap.dedent(text)
    for address, real in (
        ("localhost:8501", served.rest_address),
        ("localhost:8500", served.grpc_address),
    ):
        text = text.replace(address, real)
    monkeypatch.chdir(tmp_path)
    (block,) = blocks_of(text, f"example of {owner.__name__}", "python")
    block.run({"__name__": "__main__"})
