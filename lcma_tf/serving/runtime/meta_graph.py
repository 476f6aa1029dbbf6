"""What the signatures of a SavedModel are, as the file says it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

__all__ = ["SERVED", "Signature", "TensorInfo", "read_meta_graph", "read_signatures"]

# The tag by which servers choose among the graphs of a SavedModel.
SERVED = "serve"
# The loader's own; not for clients.
_NOT_SERVED = "__saved_model_init_op"


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output.

    Attributes:
        name: the tensor's in the graph, `operation:index`.
        dtype: of NumPy; `np.dtype(object)` for strings.
        shape: None for an unknown size; None as a whole for an unknown rank.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...] | None

    def check_shape(self, what: str, array: np.ndarray) -> None:
        """Raises ValueError, about `what`, unless `array` is of this shape."""
        if self.shape is None:
            return
        fits = len(self.shape) == array.ndim and all(
            size in (None, actual) for size, actual in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`{what}` must have shape {list(self.shape)}; got {list(array.shape)}."
            )


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs by the names that clients use."""

    name: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]

    def check_names(self, inputs: Collection[str], outputs: Collection[str]) -> None:
        """Raises ValueError unless all inputs are given, and no output that there is not."""
        if set(inputs) != set(self.inputs):
            raise ValueError(_rule(f"`inputs` of {self.name} must be", self.inputs, inputs))
        if not set(outputs) <= set(self.outputs) or len(outputs) > len(set(outputs)):
            rule = f"`outputs` of {self.name} must be distinct and of"
            raise ValueError(_rule(rule, self.outputs, outputs))


def read_meta_graph(version_dir: str | os.PathLike[str]) -> Any:
    """The MetaGraphDef that is for servers.

    Raises:
        ValueError: there is no SavedModel, or it is torn, or it has no graph for servers.
    """
    path = Path(version_dir) / "saved_model.pb"
    try:
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ValueError(f"Could not find SavedModel: {path} must be readable: {error}") from error
    for meta_graph in saved.meta_graphs:
        if SERVED in meta_graph.meta_info_def.tags:
            return meta_graph
    raise ValueError(f"{path} must hold a graph with the tag {SERVED!r}; it does not.")


def read_signatures(meta_graph: Any) -> dict[str, Signature]:
    """All signatures of a MetaGraphDef that are for clients, in the order of their names.

    Raises:
        ValueError: a tensor is of a kind that has no NumPy array.
    """
    return {
        name: Signature(name, _tensors(definition.inputs, name), _tensors(definition.outputs, name))
        for name, definition in sorted(meta_graph.signature_def.items())
        if name != _NOT_SERVED
    }


def _tensors(infos: Any, signature: str) -> dict[str, TensorInfo]:
    return {name: _tensor_info(info, f"{signature}/{name}") for name, info in sorted(infos.items())}


def _tensor_info(info: Any, what: str) -> TensorInfo:
    if info.WhichOneof("encoding") != "name":
        raise ValueError(f"`{what}` must be a plain tensor, not a sparse or composite one.")
    dtype = tf.dtypes.as_dtype(info.dtype)
    numpy_dtype = np.dtype(dtype.as_numpy_dtype) if dtype.is_numpy_compatible else None
    if numpy_dtype is None or numpy_dtype.isbuiltin != 1:  # bfloat16 and the like.
        raise ValueError(f"`{what}` must have a dtype of NumPy; got {dtype.name}.")
    shape = tf.TensorShape(info.tensor_shape)
    sizes = None if shape.rank is None else tuple(shape.as_list())
    return TensorInfo(info.name, numpy_dtype, sizes)


def _rule(rule: str, allowed: Iterable[str], got: Iterable[str]) -> str:
    return f"{rule} {', '.join(sorted(allowed))}; got {', '.join(sorted(got)) or 'none'}."
