"""Runs a SavedModel in TensorFlow's C++ session, as TensorFlow Serving does, with no server.

TensorFlow's own session takes the arrays, in whatever way they lie in memory. It runs the graph that was
saved and nothing of the process that made it; that a process without Python's TensorFlow does so too is
what `export.verify` shows.
"""

from __future__ import annotations

import contextlib
import enum
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.util import deprecation

from lcma_tf.errors import UserError
from lcma_tf.serving.runtime.meta_graph import (
    SERVED,
    Signature,
    TensorInfo,
    read_meta_graph,
    read_signatures,
)

__all__ = ["Code", "CppSession", "CppSessionError", "Signature", "TensorInfo"]

# What TensorFlow's Python puts before the message of the C++ session.
_PREFIX = "Graph execution error:\n\n"


class Code(enum.IntEnum):
    """TensorFlow's status codes that this package raises itself."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    FAILED_PRECONDITION = 9


class CppSessionError(UserError, RuntimeError):
    """What TensorFlow refused, or would refuse.

    Args:
        message: one sentence.
        code: TensorFlow's status code, which is also gRPC's; 3 is INVALID_ARGUMENT.
    """

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


class CppSession:
    """A loaded SavedModel; `with` closes it.

        with CppSession("exports/celeba/3") as session:
            answer = session.run("log_prob", {"images": images})

    Threads may share it: `run` may be called by many at once, and `close` waits for them. Exports whose
    model card does not speak of several runs at once need `TF_ENABLE_ONEDNN_OPTS=0` for that: with
    oneDNN on they now and then give wrong numbers, or end the process (docs/faults.md).

    Args:
        path: a version folder, the one with saved_model.pb.
        threads: for work within an operation and among operations; 0 is one for each CPU.
        check: whether `run` holds shapes to the signature. A server does not: False sends arrays of any
            shape. Dtypes are held to it either way.
        config: a serialized ConfigProto, for instance one that turns Grappler off.

    Attributes:
        signatures: what can be run, by name.

    Raises:
        CppSessionError: there is no SavedModel, or TensorFlow refuses it.
        ValueError: `threads` is negative.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int = 0,
        check: bool = True,
        config: bytes = b"",
    ):
        if threads < 0:
            raise ValueError(f"`threads` must be at least 0; got {threads}.")
        self._check = check
        self._open = True
        self._running = 0
        self._changed = threading.Condition()
        self._session: Any = None
        self._path = os.fspath(path)
        try:
            meta_graph = read_meta_graph(path)
            self.signatures = read_signatures(meta_graph)
            options = tf.compat.v1.ConfigProto.FromString(config)
        except (ValueError, DecodeError) as error:
            code = Code.INVALID_ARGUMENT if isinstance(error, DecodeError) else Code.NOT_FOUND
            raise CppSessionError(f"Loading {path}: {error}", code) from error
        if threads:
            options.intra_op_parallelism_threads = options.inter_op_parallelism_threads = threads
        try:
            self._load(options)
        except (tf.errors.OpError, OSError, ValueError) as error:
            self.close()
            code = getattr(error, "error_code", Code.INVALID_ARGUMENT)
            raise CppSessionError(f"Loading {path}: {_message(error)}", code) from error
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
            inputs: an array for each input, in any layout; strings as bytes or str, in an object array
                or a list.
            outputs: names of the wanted outputs, like a request's output_filter; None or empty means
                all. Each new set of outputs costs TensorFlow the preparation of a graph.

        Returns:
            A new array for each output; strings as object arrays of bytes.

        Raises:
            CppSessionError: with TensorFlow's code and message, or those of the same mistake.
        """
        if signature not in self.signatures:
            raise CppSessionError(
                f"`signature` must be one of {', '.join(sorted(self.signatures))}; "
                f"got {signature!r}.",
                Code.FAILED_PRECONDITION,  # The server's for this; the others are INVALID_ARGUMENT.
            )
        stated = self.signatures[signature]
        wanted = list(outputs or stated.outputs)
        try:
            stated.check_names(inputs, wanted)
            arrays = {
                name: _as_array(f"{signature}/{name}", value, stated.inputs[name].dtype)
                for name, value in inputs.items()
            }
            if self._check:
                for name, array in arrays.items():
                    stated.inputs[name].check_shape(f"{signature}/{name}", array)
        except ValueError as error:
            raise CppSessionError(str(error), Code.INVALID_ARGUMENT) from error
        fetches = {name: stated.outputs[name].name for name in wanted}
        fed = {self._places[stated.inputs[name].name]: array for name, array in arrays.items()}
        with self._kept_open():
            try:
                answers = self._session.run(fetches, fed)
            except tf.errors.OpError as error:
                raise CppSessionError(
                    f"Running {signature}: {_message(error)}", error.error_code
                ) from error
            except UnicodeDecodeError as error:  # Python cannot even raise what the session said.
                raise CppSessionError(
                    f"Running {signature}: TensorFlow refused, in a message that is no text.",
                    Code.UNKNOWN,
                ) from error
        # A tensor may be what was fed, or another's answer: an array of one's own may be written to.
        return {name: np.array(answer) for name, answer in answers.items()}

    def close(self) -> None:
        """Frees the model once the runs under way have ended; more runs are refused."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: not self._running)
            session, self._session = self._session, None
        if session is not None:
            session.close()

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

    def _load(self, options: Any) -> None:
        with tf.Graph().as_default() as graph:
            # The graph's own inputs are of the stated shapes, to which Python would hold what is fed.
            # What a server lets through must reach the checks inside the graph.
            self._places = {
                info.name: tf.compat.v1.placeholder(info.dtype, name=f"fed/{signature.name}_{name}")
                for signature in self.signatures.values()
                for name, info in signature.inputs.items()
            }
            self._session = tf.compat.v1.Session(graph=graph, config=options)
            with deprecation.silence():  # What is to be used instead takes no `input_map`.
                tf.compat.v1.saved_model.load(
                    self._session, [SERVED], self._path, input_map=self._places
                )
            graph.finalize()


def _as_array(what: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """`value` in memory as TensorFlow takes it; never another number than was given.

    Raises:
        ValueError: about `what`, if it is no array of `dtype`.
    """
    if dtype.hasobject and not isinstance(value, np.ndarray):
        # NumPy's own strings end at the last byte that is not 0; encoded images may end in zeros.
        value = np.array(value, object)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"`{what}` must be an array; got {type(value).__name__}.") from error
    found = "string" if array.dtype.kind in "SUO" else array.dtype.newbyteorder("=").name
    wanted = "string" if dtype.hasobject else dtype.name
    if found != wanted:
        raise ValueError(f"`{what}` must be {wanted}; got {found}.")
    if not dtype.hasobject:
        return array.astype(dtype, copy=False)  # Of the machine's byte order.
    texts = np.empty(array.shape, object)
    for index, text in np.ndenumerate(array):
        if not isinstance(text, bytes | str):
            raise ValueError(f"`{what}` must hold bytes or str; got {type(text).__name__}.")
        texts[index] = text.encode() if isinstance(text, str) else bytes(text)
    return texts


def _message(error: Exception) -> str:
    return str(getattr(error, "message", error)).removeprefix(_PREFIX)
