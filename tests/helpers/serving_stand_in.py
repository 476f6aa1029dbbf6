"""A stand-in for the model server: a SavedModel in TensorFlow's C++ session, behind REST and gRPC.

Loading and running are the server's own code (`export.cpp_session`). Around it, its rules are imitated
as read in its source and documentation: which errors it gives, how it merges requests
(`batching_stand_in`), its two interfaces on loopback (`rest_stand_in`, `grpc_stand_in`). So a pass here
is not yet a pass under TensorFlow Serving itself.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from batching_stand_in import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    UNAVAILABLE,
    Batching,
    StandInError,
)

NOT_FOUND = 5


class Model(Protocol):
    """What of `CppSession(path, check=False)` is used."""

    signatures: Mapping[str, Any]

    def run(self, signature, inputs, outputs=None) -> dict[str, np.ndarray]: ...


class ServingStandIn:
    """One model under one name; `with` starts the interfaces and stops them.

    Faults are set by tests: `unavailable` counts the next requests to be refused, `delay` is the seconds
    that each takes before it is run. `requests` lists `(signature, rows)` of every prediction that came,
    refused or not.

    Args:
        model: see `Model`.
        name: it is served by.
        version: its only version.
        batching: arguments of `Batching`; None runs each request by itself.
        grpc: whether to offer gRPC, for which tensorflow-serving-api must be installed.
    """

    def __init__(
        self,
        model: Model,
        name: str = "flow",
        version: int = 1,
        batching: Mapping[str, Any] | None = None,
        grpc: bool = False,
    ):
        self.model, self.name, self.version = model, name, version
        self.unavailable, self.delay = 0, 0.0
        self.requests: list[tuple[str, int]] = []
        self.batching = None if batching is None else Batching(model.run, **batching)
        self._with_grpc = grpc
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stack = contextlib.ExitStack()
        self.rest_address = self.grpc_address = ""

    def __enter__(self) -> ServingStandIn:
        from rest_stand_in import serve_rest

        if self.batching:
            self._stack.callback(self.batching.close)
        self.rest_address = self._stack.enter_context(serve_rest(self))
        if self._with_grpc:
            from grpc_stand_in import serve_grpc

            self.grpc_address = self._stack.enter_context(serve_grpc(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._stack.close()

    def check_servable(self, name: str, version: int | None) -> None:
        """Raises NOT_FOUND for another model than this."""
        if name != self.name or version not in (None, self.version):
            raise StandInError(
                NOT_FOUND, f"Servable not found for request: {name}/{version or 'latest'}"
            )

    def signature(self, name: str) -> Any:
        """The signature of that name; '' is `serving_default`."""
        name = name or "serving_default"
        if name not in self.model.signatures:
            raise StandInError(FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return self.model.signatures[name]

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], output_filter: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Answers a request; raises an error with a `code`."""
        signature = signature or "serving_default"
        rows = next((len(array) for array in inputs.values() if array.ndim), 0)
        with self._lock:
            self.requests.append((signature, rows))
            refused = self.unavailable > 0
            self.unavailable -= refused
        if refused:
            raise StandInError(UNAVAILABLE, "The stand-in was told to be unavailable")
        if self._stopping.wait(self.delay):
            raise StandInError(UNAVAILABLE, "The stand-in is stopping")
        stated = self.signature(signature)
        if set(inputs) != set(stated.inputs):
            raise StandInError(
                INVALID_ARGUMENT,
                f"input size does not match signature: {sorted(inputs)} sent, "
                f"{sorted(stated.inputs)} wanted",
            )
        unknown = set(output_filter) - set(stated.outputs)
        if unknown:
            raise StandInError(
                INVALID_ARGUMENT, f"output tensor alias not found: {sorted(unknown)}"
            )
        outputs = sorted(output_filter or stated.outputs)
        run = self.batching.call if self.batching else self.model.run
        return dict(run(signature, inputs, outputs))
