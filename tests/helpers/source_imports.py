"""Which modules a source file imports, however it says so; nothing is imported to find out.

An import string of `lcma_tf/choices.py` is an import that no import statement shows: one by whoever
follows it. To list or test the names of a table follows nothing.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("lcma_tf", "export", "benchmarks", "tests")
TABLES = "lcma_tf/choices.py"
_FOLLOWING = ("get", "items", "pop", "values")


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module, in dotted form; `lazy`: inside a function or for type checkers only."""

    module: str
    line: int
    lazy: bool


def read_imports(root: Path, file: str) -> list[Import]:
    """Every import of a file, also inside functions and by `importlib.import_module("...")`.

    A package's `__init__.py` may name what it re-exports lazily in a table: there a string that is
    the name of a module (`"lcma_tf.model"`, `".model"` or `"model"`) counts as an import of it,
    unless it is a key. Whoever follows a table of `lcma_tf/choices.py` imports what its entries lead to.
    """
    package = file.removesuffix(".py").split("/")[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            modules = (f"{base}.{alias.name}" for alias in node.names)
            found.extend(Import(module, node.lineno, lazy) for module in modules)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            constant = node.args[0] if node.args else None
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                found.append(Import(constant.value, node.lineno, lazy))
        elif isinstance(node, ast.Constant) and file.endswith("/__init__.py"):
            relative = str(node.value).removeprefix(".".join(package)).removeprefix(".")
            module = ".".join([*package, relative])
            path = root / module.replace(".", "/")
            if relative and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()):
                found.append(Import(module, node.lineno, True))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        lazy = lazy or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        # The keys of a table are what its names are called, which a module may be too.
        children = node.values if isinstance(node, ast.Dict) else ast.iter_child_nodes(node)
        for child in children:
            visit(child, lazy)

    source = ast.parse((root / file).read_text())
    visit(source, lazy=False)
    found.extend(Import(*followed, lazy=True) for followed in _followed_entries(root, source))
    return found


def file_of(root: Path, module: str) -> str | None:
    """The source file that an import of `module` (or of a name in it) reads; None: not ours."""
    parts = module.split(".")
    if parts[0] not in PACKAGES:
        # Helpers beside the tests are imported by their bare names.
        helper = f"tests/helpers/{parts[0]}.py"
        return helper if (root / helper).is_file() else None
    while parts:
        for candidate in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
            if (root / candidate).is_file():
                return candidate
        parts.pop()
    return None


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether an import of `module` loads one of `packages`, itself or a part of it."""
    return any(module == name or module.startswith(name + ".") for name in packages)


def _followed_entries(root: Path, source: ast.Module) -> Iterator[tuple[str, int]]:
    """Modules that `source` imports by the tables that it takes from `lcma_tf.choices`, with lines."""
    modules = _modules(root) if (root / TABLES).is_file() else {}
    tables = {
        alias.asname or alias.name: modules.get(alias.name, [])
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and node.module == "lcma_tf.choices"
        for alias in node.names
    }
    for node in ast.walk(source):
        is_item = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
        if is_item or (isinstance(node, ast.Attribute) and node.attr in _FOLLOWING):
            for module in tables.get(ast.unparse(node.value), ()):
                yield module, node.lineno


def _modules(root: Path) -> dict[str, list[str]]:
    """The modules of the import strings of each table, by its name."""
    return {
        ast.unparse(node.targets[0]): [
            part.value.partition(":")[0]
            for part in ast.walk(node.value)
            if isinstance(part, ast.Constant) and ":" in str(part.value).rstrip(":")
        ]
        for node in ast.parse((root / TABLES).read_text()).body
        if isinstance(node, ast.Assign)
    }
