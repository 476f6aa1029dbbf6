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

from source_imports import PACKAGES, file_of, read_imports

# What a comprehension over test files calls each of them, and what it gives them to run.
NAME_OF_EACH, SRCS_OF_EACH = "file.split('/')[-1].removesuffix('.py')", "[file]"
RULES = ("py_library", "py_binary", "py_test")


@dataclasses.dataclass(frozen=True)
class Target:
    """One target of BUILD: its kind, its files as paths from the root, what it may import."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    size: str | None = None


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
