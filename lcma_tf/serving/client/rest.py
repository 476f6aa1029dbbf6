"""A model server's REST interface, with NumPy and the standard library alone."""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.transport import OUTPUTS, ServingError, dtypes_of

__all__ = ["RestTransport"]

# What the server (or a proxy before it) means by its codes; it says 400 for three of its own.
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_PIECE = 2**16
_LONGEST_MESSAGE = 1024


class RestTransport:
    """A `Transport` over HTTP; a connection of its own for each call, so threads may share it.

    Args:
        address: `host:port` (8501 is the server's default), with `https://` before it for TLS and
            with a path behind it where a proxy wants one.
        model: the name it is served by.
        version: by default the newest that the server has.

    Raises:
        RequestError: an argument breaks its rule.

    Example:
        ```python
        from lcma_tf.serving.client.client import ServingClient
        from lcma_tf.serving.client.rest import RestTransport

        with ServingClient(RestTransport("localhost:8501", "flow")) as client:
            print(client.status())  # {1: 'AVAILABLE'}
        ```
    """

    def __init__(self, address: str, model: str, version: int | None = None):
        parts = urllib.parse.urlsplit(address if "://" in address else f"http://{address}")
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise RequestError(f"`address` must be host:port; got {address!r}.")
        if not model:
            raise RequestError("`model` must be the name of a model; got ''.")
        secure = parts.scheme == "https"
        self._connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._host, self._port = parts.hostname, port
        self._model_path = f"{parts.path.rstrip('/')}/v1/models/{urllib.parse.quote(model)}"
        if version is not None:
            self._model_path += f"/versions/{version}"

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        request = {
            "signature_name": signature,
            "inputs": {name: _to_json(array) for name, array in inputs.items()},
        }
        answer = self._call("POST", ":predict", request, timeout)
        dtypes = OUTPUTS[signature]
        try:
            outputs = answer["outputs"]
            if len(dtypes) == 1:  # Then the server leaves the name out.
                outputs = {next(iter(dtypes)): outputs}
            dtypes = dtypes_of(signature, outputs)
            return {name: np.array(outputs[name], dtype) for name, dtype in dtypes.items()}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ServingError(
                "INTERNAL", f"the answer must hold arrays {list(dtypes)}: {error!r}", final=True
            ) from error

    def status(self, timeout: float) -> dict[int, str]:
        answer = self._call("GET", "", None, timeout)
        try:
            return {int(one["version"]): one["state"] for one in answer["model_version_status"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError("INTERNAL", f"the answer must hold versions: {error!r}") from error

    def input_shapes(
        self, signature: str, timeout: float
    ) -> dict[str, tuple[int | None, ...] | None]:
        answer = self._call("GET", "/metadata", None, timeout)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            if signature not in signatures:
                raise ServingError(
                    "FAILED_PRECONDITION",
                    f"the model has no signature `{signature}`; it has {sorted(signatures)}",
                    final=True,
                )
            inputs = signatures[signature]["inputs"]
            return {name: _shape(info["tensor_shape"]) for name, info in inputs.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError("INTERNAL", f"the answer must hold shapes: {error!r}") from error

    def close(self) -> None:
        """Nothing is kept open."""

    def _call(self, method: str, path: str, request: Any, timeout: float) -> Any:
        body = None
        if request is not None:
            body = json.dumps(request, allow_nan=False, separators=(",", ":")).encode()
        code, content = self._exchange(method, self._model_path + path, body, timeout)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if code == 200 and isinstance(answer, dict):
            return answer
        said = answer.get("error") if isinstance(answer, dict) else None
        said = str(said or content.decode(errors="replace")).strip()[:_LONGEST_MESSAGE]
        if code == 200:
            raise ServingError("INTERNAL", f"the answer must be a JSON object; got {said!r}")
        status = _STATUSES.get(code, "INTERNAL" if code >= 500 else "UNKNOWN")
        raise ServingError(status, f"{said or 'no message'} (HTTP {code})")

    def _exchange(
        self, method: str, path: str, body: bytes | None, timeout: float
    ) -> tuple[int, bytes]:
        """Sends a request; the code and the content of the answer, all before the deadline."""
        deadline = time.monotonic() + timeout
        connection = self._connect(self._host, self._port, timeout=timeout)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        try:
            connection.connect()
            socket = connection.sock
            socket.settimeout(_remaining(deadline))
            connection.request(method, path, body, headers)
            socket.settimeout(_remaining(deadline))
            response = connection.getresponse()
            pieces = []
            # A timeout of a socket is for each read: an answer that trickles in needs a sum of them.
            while piece := response.read1(_PIECE):
                pieces.append(piece)
                socket.settimeout(_remaining(deadline))
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            return response.status, b"".join(pieces)
        except TimeoutError as error:
            raise ServingError("DEADLINE_EXCEEDED", f"no answer in {timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            where = f"{self._host}:{self._port or connection.port}"
            raise ServingError("UNAVAILABLE", f"{where}: {error or repr(error)}") from error
        finally:
            connection.close()


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _to_json(array: np.ndarray) -> list[Any]:
    if array.dtype == object:
        return [{"b64": base64.b64encode(data).decode()} for data in array]
    return array.tolist()


def _shape(stated: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if stated.get("unknown_rank"):
        return None
    sizes = [int(dim["size"]) for dim in stated.get("dim", [])]
    return tuple(None if size < 0 else size for size in sizes)
