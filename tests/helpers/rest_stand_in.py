"""The REST interface of the model server's stand-in: JSON in, JSON out, on loopback."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from batching_stand_in import INVALID_ARGUMENT, StandInError

# What the server makes of its own codes; others are 500.
_HTTP_CODES = {3: 400, 9: 400, 11: 400, 5: 404, 8: 429, 14: 503, 4: 504, 12: 501}
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata|)")
_TYPE_NAMES = {"float32": "DT_FLOAT", "object": "DT_STRING"}


@contextlib.contextmanager
def serve_rest(stand_in) -> Iterator[str]:
    """Serves until the end of the context; gives the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._answer("")

        def do_POST(self):
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _answer(self, body):
            try:
                code, answer = 200, _answer(stand_in, self.path, body)
            except Exception as error:
                code = _HTTP_CODES.get(int(getattr(error, "code", 2)), 500)
                answer = {"error": str(error)}
            content = json.dumps(answer).encode()  # NaN as a bare token, as the server writes it.
            with contextlib.suppress(ConnectionError):  # A client may have given up.
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(stand_in, path: str, body: bytes) -> Any:
    found = _PATH.fullmatch(path)
    if not found or bool(body) != (found[3] == ":predict"):
        raise StandInError(INVALID_ARGUMENT, f"Malformed request: {path}")
    stand_in.check_servable(found[1], int(found[2]) if found[2] else None)
    if found[3] == ":predict":
        return _predict(stand_in, body)
    if found[3] == "/metadata":
        return _metadata(stand_in)
    ok = {"error_code": "OK", "error_message": ""}
    version = {"version": str(stand_in.version), "state": "AVAILABLE", "status": ok}
    return {"model_version_status": [version]}


def _predict(stand_in, body: bytes) -> Any:
    try:
        request = json.loads(body)
    except ValueError as error:
        raise StandInError(INVALID_ARGUMENT, f"JSON Parse error: {error}") from error
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        raise StandInError(INVALID_ARGUMENT, "Missing 'inputs' or 'instances' key")
    name = request.get("signature_name", "")
    infos = stand_in.signature(name).inputs
    by_rows = "instances" in request
    values = _columns(request["instances"], infos) if by_rows else request["inputs"]
    if len(infos) == 1 and not _is_named(values):
        values = {next(iter(infos)): values}
    if not isinstance(values, dict):
        raise StandInError(INVALID_ARGUMENT, "JSON Value: inputs must be named")
    inputs = {
        key: _to_array(key, value, infos[key].dtype) if key in infos else np.zeros(())
        for key, value in values.items()
    }
    outputs = stand_in.predict(name, inputs)
    columns = {key: _to_json(array, key.endswith("_bytes")) for key, array in outputs.items()}
    single = next(iter(columns.values())) if len(columns) == 1 else None
    if not by_rows:
        return {"outputs": columns if single is None else single}
    if single is None:
        rows = zip(*columns.values(), strict=True)
        single = [dict(zip(columns, row, strict=True)) for row in rows]
    return {"predictions": single}


def _is_named(value: Any) -> bool:
    """Whether it is an object of names and not one file."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _columns(instances: Any, infos) -> Any:
    if not isinstance(instances, list) or not instances:
        raise StandInError(INVALID_ARGUMENT, "no instances")
    if not _is_named(instances[0]):
        return instances
    if any(not _is_named(one) or set(one) != set(instances[0]) for one in instances):
        raise StandInError(INVALID_ARGUMENT, "Instances must have the same names")
    return {key: [one[key] for one in instances] for key in instances[0]}


def _to_array(key: str, value: Any, dtype: np.dtype) -> np.ndarray:
    flat: list[Any] = []
    shape = _flatten(value, flat)
    kind = np.dtype(dtype).kind
    if kind == "O":
        try:
            flat = [_to_bytes(one) for one in flat]
        except (TypeError, KeyError, AttributeError, binascii.Error) as error:
            raise StandInError(INVALID_ARGUMENT, f"{key}: JSON Value is no string") from error
    elif any(type(one) not in ((int,) if kind in "iu" else (int, float)) for one in flat):
        raise StandInError(INVALID_ARGUMENT, f"{key}: JSON Value is not of type {dtype}")
    # Integers wrap without a word, as they do in the server.
    between = np.array(flat, np.int64) if kind in "iu" else np.empty(len(flat), dtype)
    between[:] = flat
    return between.astype(dtype).reshape(shape)


def _flatten(value: Any, flat: list[Any]) -> tuple[int, ...]:
    if not isinstance(value, list):
        flat.append(value)
        return ()
    shapes = {_flatten(one, flat) for one in value}
    if len(shapes) > 1:
        raise StandInError(INVALID_ARGUMENT, "Encountered list at unexpected size: ragged")
    return (len(value), *(shapes.pop() if shapes else ()))


def _to_bytes(value: Any) -> bytes:
    return (
        value.encode() if isinstance(value, str) else base64.b64decode(value["b64"], validate=True)
    )


def _to_json(array: np.ndarray, as_bytes: bool) -> Any:
    if array.dtype != object:
        return array.tolist()
    if as_bytes:
        return [{"b64": base64.b64encode(one).decode()} for one in array]
    return [one.decode(errors="replace") for one in array]


def _metadata(stand_in) -> Any:
    def describe(infos):
        return {
            key: {
                "dtype": _TYPE_NAMES.get(info.dtype.name, f"DT_{info.dtype.name.upper()}"),
                "tensor_shape": {
                    "dim": [
                        {"size": str(-1 if size is None else size), "name": ""}
                        for size in info.shape or ()
                    ],
                    "unknown_rank": info.shape is None,
                },
                "name": info.name,
            }
            for key, info in infos.items()
        }

    signatures = {
        name: {"inputs": describe(one.inputs), "outputs": describe(one.outputs)}
        for name, one in stand_in.model.signatures.items()
    }
    spec = {"name": stand_in.name, "signature_name": "", "version": str(stand_in.version)}
    return {
        "model_spec": spec,
        "metadata": {"signature_def": {"signature_def": signatures}},
    }
