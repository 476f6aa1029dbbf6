"""Reads the layers from `BUILD` and the imports from the sources, and compares the two.

`BUILD` is Python syntax, so both are parsed with `ast`; nothing is imported, Bazel is not needed.
An import of `lcma_tf.x` is an arrow to the target that holds `lcma_tf/x.py`; one of a name that is
no module, as in `from lcma_tf import FlowModel`, is an arrow to the package's `__init__.py`.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

# What a comprehension over test files calls each of them, and what it gives them to run.
NAME_OF_EACH, SRCS_OF_EACH = "file.split('/')[-1].removesuffix('.py')", "[file]"
PACKAGES = ("lcma_tf", "export", "benchmarks", "tests")
RULES = ("py_library", "py_binary", "py_test")


@dataclasses.dataclass(frozen=True)
class Target:
    """One target of BUILD: its kind, its files as paths from the root, what it may import."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    size: str | None = None


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported module, in dotted form; `lazy`: inside a function or for type checkers only."""

    module: str
    line: int
    lazy: bool


def source_files(root: Path) -> list[str]:
    paths = (path for package in PACKAGES for path in (root / package).rglob("*.py"))
    return sorted(path.relative_to(root).as_posix() for path in paths)


def read_targets(root: Path) -> dict[str, Target]:
    """The targets of `BUILD`; `srcs` may be a list, a `glob` or a sum of these.

    A folder of tests may be one statement, a comprehension over a `glob`: a target for each file, named
    as it, all with the same deps.
    """
    targets: dict[str, Target] = {}
    for node in ast.parse((root / "BUILD").read_text()).body:
        for target in _targets(node.value if isinstance(node, ast.Expr) else None, root):
            if target.name in targets:
                raise ValueError(f"BUILD has two targets named {target.name!r}.")
            targets[target.name] = target
    return targets


def _targets(value: ast.expr | None, root: Path) -> Iterator[Target]:
    if isinstance(value, ast.ListComp):
        (loop,) = value.generators
        files = list(_files(loop.iter, root))
        if ast.unparse(loop.target) != "file" or loop.ifs or not files:
            raise ValueError(f"BUILD must go over each `file` there is; got {ast.unparse(loop)}.")
        for file in files:
            yield from _target(value.elt, root, file)
    elif value is not None:
        yield from _target(value, root)


def _target(call: ast.expr, root: Path, file: str | None = None) -> Iterator[Target]:
    """The target that a call makes, of one `file` inside a comprehension; none of another call."""
    if not isinstance(call, ast.Call) or ast.unparse(call.func) not in RULES:
        return
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    if file is None:
        name, srcs = ast.literal_eval(values["name"]), tuple(_files(values["srcs"], root))
    else:
        spelled = ast.unparse(values["name"]), ast.unparse(values["srcs"])
        if spelled != (NAME_OF_EACH, SRCS_OF_EACH):
            raise ValueError(
                f"Each target over files must have name = {NAME_OF_EACH}, srcs = {SRCS_OF_EACH}; "
                f"got {', '.join(spelled)}."
            )
        name, srcs = Path(file).stem, (file,)
    yield Target(
        rule=ast.unparse(call.func),
        name=name,
        srcs=srcs,
        deps=tuple(
            dep.removeprefix(":")
            for dep in (ast.literal_eval(values["deps"]) if "deps" in values else ())
        ),
        size=ast.literal_eval(values["size"]) if "size" in values else None,
    )


def _files(node: ast.expr, root: Path) -> Iterator[str]:
    if isinstance(node, ast.BinOp):
        yield from _files(node.left, root)
        yield from _files(node.right, root)
    elif isinstance(node, ast.Call):
        found, excluded = (_found(patterns, root) for patterns in _patterns(node))
        yield from (file for file in found if file not in excluded)
    else:
        yield from ast.literal_eval(node)


def _patterns(glob: ast.Call) -> tuple[list[str], list[str]]:
    """What a `glob` takes in, and what it leaves out."""
    left_out = [keyword.value for keyword in glob.keywords if keyword.arg == "exclude"]
    return ast.literal_eval(glob.args[0]), ast.literal_eval(left_out[0]) if left_out else []


def _found(patterns: list[str], root: Path) -> list[str]:
    paths = (path for pattern in patterns for path in sorted(root.glob(pattern)))
    return [path.relative_to(root).as_posix() for path in paths]


def read_imports(root: Path, file: str) -> list[Import]:
    """Every import of a file, also inside functions and by `importlib.import_module("...")`.

    A package's `__init__.py` may name what it re-exports lazily in a table: there a string that is
    the name of a module (`"lcma_tf.model"`, `".model"` or `"model"`) counts as an import of it,
    unless it is a key.
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

    visit(ast.parse((root / file).read_text()), lazy=False)
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


def problems(root: Path) -> list[str]:
    """Sentences that say where BUILD and the sources differ; empty: they agree."""
    targets = read_targets(root)
    files = source_files(root)
    return [
        *_ownership(targets, files),
        *_test_targets(targets, files),
        *_cycles(targets),
        *_arrows(root, targets),
    ]


def _ownership(targets: dict[str, Target], files: list[str]) -> Iterator[str]:
    owned = [file for target in targets.values() for file in target.srcs]
    for file in files:
        if owned.count(file) != 1:
            yield f"{file} must be in exactly one target of BUILD, found in {owned.count(file)}."
    for file in sorted(set(owned) - set(files)):
        yield f"BUILD lists {file}, which does not exist."
    for target in targets.values():
        if not target.srcs:
            yield f"Target {target.name} holds no file."
        for dep in target.deps:
            if dep not in targets:
                yield f"Target {target.name} depends on {dep}, which BUILD does not have."


def _test_targets(targets: dict[str, Target], files: list[str]) -> Iterator[str]:
    for file in files:
        name = Path(file).stem
        if file.startswith("tests/") and name.endswith("_test"):
            if name not in targets or targets[name].rule != "py_test":
                yield f"{file} has no py_test target named {name}."
            elif targets[name].srcs != (file,):
                yield f"Test target {name} must have the one source {file}, has {targets[name].srcs}."
    for target in targets.values():
        if target.rule != "py_test":
            continue
        if len(target.srcs) != 1 or Path(target.srcs[0]).stem != target.name:
            yield f"Test target {target.name} must have the one source of its name, has {target.srcs}."
        if target.size not in ("small", "medium", "large", "enormous"):
            yield f"Test target {target.name} must state a size."


def _cycles(targets: dict[str, Target]) -> Iterator[str]:
    def reaches(start: str, goal: str, seen: set[str]) -> bool:
        for dep in targets[start].deps if start in targets else ():
            if dep == goal or (dep not in seen and reaches(dep, goal, seen | {dep})):
                return True
        return False

    for name in targets:
        if reaches(name, name, set()):
            yield f"Target {name} depends on itself."


def _arrows(root: Path, targets: dict[str, Target]) -> Iterator[str]:
    owner = {file: target.name for target in targets.values() for file in target.srcs}
    for target in targets.values():
        used = set()
        for file in filter(lambda file: (root / file).is_file(), target.srcs):
            for imported in read_imports(root, file):
                layer = owner.get(file_of(root, imported.module) or "")
                if layer is None or layer == target.name:
                    continue
                used.add(layer)
                if layer not in target.deps:
                    yield (
                        f"{file}:{imported.line} imports {imported.module} of layer {layer}, "
                        f"which is not among the deps of {target.name}."
                    )
        # Tests may start a program as a process: what they declare need not be imported.
        for dep in target.deps if target.rule != "py_test" else ():
            if dep in targets and dep not in used:
                yield f"Target {target.name} declares the dep {dep}, but no file of it imports it."


def is_within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether an import of `module` loads one of `packages`, itself or a part of it."""
    return any(module == name or module.startswith(name + ".") for name in packages)
