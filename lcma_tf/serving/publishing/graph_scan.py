"""Reads a saved graph for what a stock model server cannot or should not run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from lcma_tf.errors import UserError

__all__ = ["MAX_CONSTANT_BYTES", "GraphError", "check_graph", "graph_problems"]

# Weights are variables, stored once; as constants each signature would hold a copy of them.
MAX_CONSTANT_BYTES = 1 << 20
# TensorFlow's own functions for saving and restoring from Python; no server calls them.
_CHECKPOINTING = ("__inference__traced_save_", "__inference__traced_restore_")
_EVERYWHERE = "/device:CPU:0"
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction")
# Stateful by nature and harmless: reading weights, checks, calls, restoring.
_STATEFUL = {
    "Assert",
    "AssignVariableOp",
    "HashTableV2",
    "If",
    "MergeV2Checkpoints",
    "NoOp",
    "Placeholder",
    "ReadVariableOp",
    "RestoreV2",
    "SaveV2",
    "ShardedFilename",
    "StatefulPartitionedCall",
    "TensorListGetItem",
    "VarHandleOp",
    "VarIsInitializedOp",
    "While",
}


class GraphError(UserError, ValueError):
    """A saved graph that a stock model server would not run."""


def check_graph(version_dir: str | os.PathLike[str]) -> None:
    """Raises `GraphError` if `graph_problems` finds any."""
    problems = graph_problems(version_dir)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise GraphError(
            f"The saved graph must run on any server: {'; '.join(problems[:3])}{more}."
        )


def graph_problems(version_dir: str | os.PathLike[str]) -> list[str]:
    """Sentences about ops that need Python, XLA or a custom kernel, that draw random numbers from a
    state, that name a device, and about large constants; functions inside functions included.

    Args:
        version_dir: the folder of `saved_model.pb`.
    """
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((Path(version_dir) / "saved_model.pb").read_bytes())
    problems: list[str] = []
    for meta_graph in saved.meta_graphs:
        everything = meta_graph.graph_def.library.function
        own = {function.signature.name for function in everything}
        library = [f for f in everything if not f.signature.name.startswith(_CHECKPOINTING)]
        places = [("the graph", meta_graph.graph_def.node)]
        places += [(f"function {f.signature.name}", f.node_def) for f in library]
        for place, nodes in places:
            problems += [f"{problem} in {place}" for node in nodes for problem in _of(node, own)]
        for function in library:
            if function.attr["_XlaMustCompile"].b:
                problems.append(f"function {function.signature.name} must be compiled by XLA")
    return sorted(set(problems))


def _of(node: Any, own_functions: set[str]) -> Iterator[str]:
    what = f"{node.op} '{node.name}'"
    if node.op in own_functions:
        return
    definition = op_def_registry.get(node.op)
    if definition is None:
        yield f"{what} is no op of TensorFlow"
        return
    if node.op in _PYTHON_OPS:
        yield f"{what} needs Python"
    elif node.op.startswith("Xla") or node.attr["_XlaMustCompile"].b:
        yield f"{what} needs XLA"
    elif definition.is_stateful and node.op not in _STATEFUL:
        yield f"{what} keeps a state"
    if node.device not in ("", _EVERYWHERE):
        yield f"{what} names the device {node.device}"
    if node.op == "Const":
        value = node.attr["value"].tensor
        # Strings have no size of their own; none of ours is large.
        size = 0 if value.dtype == tf.string.as_datatype_enum else len(value.tensor_content)
        if size > MAX_CONSTANT_BYTES:
            yield f"{what} is a constant of {size:,} bytes"
