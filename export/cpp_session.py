"""Runs a SavedModel in TensorFlow's C++ session, as TensorFlow Serving does, with no server.

Loading and running are the server's own code; Python, Keras and lcma_tf have no part in it. What
runs here needs nothing of the process that made the SavedModel.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from export import c_api, c_tensors
from export.c_api import Code, CppSessionError, Output
from export.meta_graph import Signature, TensorInfo, read_signatures

__all__ = ["CppSession", "CppSessionError", "Signature", "TensorInfo"]

_TAG = b"serve"
# Fields 2 and 5 of a ConfigProto, the threads within an operation and among them, as keys of varints.
_INTRA_OP_THREADS, _INTER_OP_THREADS = 0x10, 0x28


class CppSession:
    """A loaded SavedModel; `with` closes it.

        with CppSession("exports/celeba/3") as session:
            answer = session.run("log_prob", {"images": images})

    Threads may share it: `run` may be called by many at once, and `close` waits for them. That is safe
    with `TF_ENABLE_ONEDNN_OPTS=0` in the environment; with oneDNN on, TensorFlow 2.21 itself now and
    then gives wrong numbers, or ends the process, when several runs compute at once.

    Args:
        path: a version folder, the one with saved_model.pb.
        threads: for work within an operation and among operations; 0 is one for each CPU.
        check: whether `run` holds dtypes and shapes to the signature. A server does not: False sends
            them as they are.
        config: a serialized ConfigProto, for instance one that turns Grappler off.

    Attributes:
        signatures: what can be run, by name.

    Raises:
        CppSessionError: there is no SavedModel, TensorFlow refuses it, or there is no TensorFlow.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int = 0,
        check: bool = True,
        config: bytes = b"",
    ):
        if not 0 <= threads < 128:  # Those that are one byte as a varint.
            raise ValueError(f"`threads` must be from 0 to 127; got {threads}.")
        if threads:  # Joined messages are merged ones.
            config += bytes([_INTRA_OP_THREADS, threads, _INTER_OP_THREADS, threads])
        self._tf = c_api.library()
        self._check = check
        self._open = True
        self._running = 0
        self._changed = threading.Condition()
        self._session = None
        self._graph = self._tf.TF_NewGraph()
        try:
            self.signatures = read_signatures(self._load(os.fspath(path), config))
            self._places = {
                info.name: self._place(info.name)
                for signature in self.signatures.values()
                for info in (*signature.inputs.values(), *signature.outputs.values())
            }
        except ValueError as error:
            self.close()
            raise CppSessionError(f"Loading {path}: {error}", Code.UNIMPLEMENTED) from error
        except BaseException:
            self.close()
            raise

    def run(
        self,
        signature: str,
        inputs: Mapping[str, Any],
        outputs: Iterable[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: an array for each input; strings as bytes or str, in an object array or a list.
            outputs: names of the wanted outputs, like a request's output_filter; None or empty means
                all. Each new set of outputs costs TensorFlow the preparation of a graph.

        Returns:
            An array for each output; strings as object arrays of bytes.

        Raises:
            CppSessionError: with TensorFlow's code and message, or those of the same mistake.
        """
        if signature not in self.signatures:
            raise CppSessionError(
                f"`signature` must be one of {', '.join(sorted(self.signatures))}; "
                f"got {signature!r}.",
                Code.FAILED_PRECONDITION,  # The server's for this; the others are INVALID_ARGUMENT.
            )
        infos = self.signatures[signature]
        wanted = list(outputs or infos.outputs)
        if set(inputs) != set(infos.inputs):
            raise _invalid(f"`inputs` of {signature} must be", infos.inputs, inputs)
        if not set(wanted) <= set(infos.outputs) or len(wanted) > len(set(wanted)):
            raise _invalid(
                f"`outputs` of {signature} must be distinct and of", infos.outputs, wanted
            )
        arrays = {name: _as_array(value) for name, value in inputs.items()}
        if self._check:
            try:
                for name, array in arrays.items():
                    infos.inputs[name].check(f"{signature}/{name}", array)
            except ValueError as error:
                raise CppSessionError(str(error), Code.INVALID_ARGUMENT) from error
        places = [self._places[infos.inputs[name].name] for name in arrays]
        wanted_places = [self._places[infos.outputs[name].name] for name in wanted]
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._kept_open())
            fed = [
                stack.enter_context(c_tensors.feed(f"{signature}/{name}", array))
                for name, array in arrays.items()
            ]
            fetched = stack.enter_context(c_tensors.deleting((ctypes.c_void_p * len(wanted))()))
            with c_api.status(f"Running {signature}") as status:
                self._tf.TF_SessionRun(
                    self._session,
                    None,
                    (Output * len(places))(*places),
                    (ctypes.c_void_p * len(fed))(*fed),
                    len(fed),
                    (Output * len(wanted))(*wanted_places),
                    fetched,
                    len(wanted),
                    None,
                    0,
                    None,
                    status,
                )
            return {name: c_tensors.fetch(fetched[index]) for index, name in enumerate(wanted)}

    def close(self) -> None:
        """Frees the model once the runs under way have ended; more runs are refused."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: not self._running)
            session, self._session = self._session, None
            graph, self._graph = self._graph, None
        if session:
            with c_api.status("Closing the session") as status:
                self._tf.TF_CloseSession(session, status)
            with c_api.status("Deleting the session") as status:
                self._tf.TF_DeleteSession(session, status)
        if graph:
            self._tf.TF_DeleteGraph(graph)

    def __enter__(self) -> CppSession:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _kept_open(self) -> Iterator[None]:
        with self._changed:
            if not self._open:
                raise CppSessionError(
                    "The session must be open; it is closed.", Code.FAILED_PRECONDITION
                )
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _load(self, path: str, config: bytes) -> bytes:
        """Sets the session and returns the MetaGraphDef."""
        options, meta_graph = self._tf.TF_NewSessionOptions(), self._tf.TF_NewBuffer()
        try:
            with c_api.status("Setting `config`") as status:
                self._tf.TF_SetConfig(options, config, len(config), status)
            with c_api.status(f"Loading {path}") as status:
                self._session = self._tf.TF_LoadSessionFromSavedModel(
                    options,
                    None,
                    os.fsencode(path),
                    (ctypes.c_char_p * 1)(_TAG),
                    1,
                    self._graph,
                    meta_graph,
                    status,
                )
            return ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)
        finally:
            self._tf.TF_DeleteBuffer(meta_graph)
            self._tf.TF_DeleteSessionOptions(options)

    def _place(self, tensor: str) -> Output:
        operation, _, index = tensor.partition(":")
        found = self._tf.TF_GraphOperationByName(self._graph, operation.encode())
        if not found:
            raise ValueError(f"A signature names the tensor {tensor!r}, which the graph lacks.")
        return Output(found, int(index or 0))


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind in "SU" and not isinstance(value, np.ndarray):
        # NumPy's own strings end at the last byte that is not 0; encoded images may end in zeros.
        return np.array(value, dtype=object)
    return array


def _invalid(rule: str, allowed: Iterable[str], got: Iterable[str]) -> CppSessionError:
    message = f"{rule} {', '.join(sorted(allowed))}; got {', '.join(sorted(got)) or 'none'}."
    return CppSessionError(message, Code.INVALID_ARGUMENT)
