"""The REST client against the model server's stand-in, and the stand-in's REST against the documents."""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import served_cases
import small_saved_model
from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.rest import RestTransport
from lcma_tf.serving.client.retry import Retries
from lcma_tf.serving.client.transport import ServingError
from served_cases import SHAPE, client_of, encode_file
from serving_stand_in import ServingStandIn
from testing import random_images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stand_in(session):
    with ServingStandIn(session) as stand_in:
        yield stand_in


@pytest.fixture
def transport(stand_in):
    return RestTransport(stand_in.rest_address, "flow")


@pytest.mark.parametrize("case", served_cases.OF_EVERY_TRANSPORT)
def test_case(case, transport, stand_in):
    case(transport, stand_in)


def test_a_version_can_be_named(session):
    with ServingStandIn(session, version=7) as stand_in:
        transport = RestTransport(f"http://{stand_in.rest_address}/", "flow", version=7)
        served_cases.check_every_signature(transport, stand_in)


@pytest.mark.parametrize(("name", "version"), [("nobody", None), ("flow", 2)])
def test_another_model(stand_in, name, version):
    served_cases.check_another_model(RestTransport(stand_in.rest_address, name, version))


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # Bound, but it does not listen.
        port = unused.getsockname()[1]
        served_cases.check_nobody_there(RestTransport(f"127.0.0.1:{port}", "flow"))


def test_a_name_that_does_not_resolve_is_unavailable():
    with pytest.raises(ServingError, match="UNAVAILABLE: no-such-host.invalid:8501"):
        RestTransport("no-such-host.invalid:8501", "flow").status(5)


@pytest.mark.parametrize("address", ["", ":8501", "ftp://host:1", "host:port", "host:99999"])
def test_an_address_has_rules(address):
    with pytest.raises(RequestError, match="`address` must be host:port"):
        RestTransport(address, "flow")


def test_jpeg_files_are_scored_as_the_model_decodes_them(transport):
    grey = np.full(SHAPE, 77, np.uint8)
    found = client_of(transport).score_encoded([encode_file(grey, "JPEG")])
    np.testing.assert_array_equal(
        found.log_prob, small_saved_model.expected_log_prob(grey[np.newaxis])
    )


def read_request(connection):
    """All of it: who closes a connection with bytes unread resets it, and the answer may be lost."""
    length = 0
    with connection.makefile("rb") as request:
        while (line := request.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        request.read(length)


@contextlib.contextmanager
def raw_server(respond):
    """A server that reads a request and hands the connection to `respond`; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection, contextlib.suppress(OSError):
                        read_request(connection)
                        respond(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_an_answer_that_trickles_in_meets_the_deadline():
    stop = threading.Event()

    def trickle(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.05):
            connection.sendall(b" ")

    with raw_server(trickle) as address:
        with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
            RestTransport(address, "flow").status(0.4)
        stop.set()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "UNAVAILABLE"),
        (b"", "UNAVAILABLE"),
        (b"SSH-2.0\r\n\r\n", "UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "INTERNAL: the answer must be a JSON object.*<html>"),
        (b"HTTP/1.1 200 OK\r\n\r\n[7]", "INTERNAL: the answer must be a JSON object"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "INTERNAL: the answer must hold versions"),
        (b"HTTP/1.1 502 Bad\r\n\r\n<html>", r"UNAVAILABLE: <html> \(HTTP 502\)"),
        (b'HTTP/1.1 429 Full\r\n\r\n{"error": "full"}', r"RESOURCE_EXHAUSTED: full \(HTTP 429\)"),
        (b"HTTP/1.1 302 Moved\r\n\r\n", r"UNKNOWN: no message \(HTTP 302\)"),
    ],
)
def test_what_is_no_answer_is_an_error(answer, message):
    with (
        raw_server(lambda connection: connection.sendall(answer)) as address,
        pytest.raises(ServingError, match=message),
    ):
        RestTransport(address, "flow").status(5)


@pytest.mark.parametrize("outputs", ["7", '{"log_prob": [1.0]}', '{"log_prob": [[1], [2, 3]]}'])
def test_outputs_of_another_form_are_an_error(outputs):
    content = f'{{"outputs": {outputs}}}'.encode()
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + content
    with (
        raw_server(lambda connection: connection.sendall(answer)) as address,
        pytest.raises(ServingError, match="INTERNAL: the answer must hold arrays"),
    ):
        RestTransport(address, "flow").predict("log_prob", {"images": random_images(1, SHAPE)}, 5)


def test_a_client_outlives_a_batch_that_another_spoiled(session):
    """Through the graph's own checks: another's temperature fails both, the client's second try not."""
    batching = {"max_batch_size": 4, "timeout": 60.0}
    with ServingStandIn(session, batching=batching) as stand_in:
        waits = []

        def wait(seconds):
            stand_in.batching.timeout = 0.0  # The second time it is alone.
            waits.append(seconds)

        transport = RestTransport(stand_in.rest_address, "flow")
        client = client_of(transport, retries=Retries(attempts=1, sleep=wait))
        bad = {"seed": np.zeros((1, 2), np.int32), "temperature": np.full(1, 9, np.float32)}
        with ThreadPoolExecutor(2) as pool:
            good = pool.submit(client.sample, 3, 5)
            spoiler = pool.submit(transport.predict, "sample", bad, 60)
            with pytest.raises(ServingError, match="INVALID_ARGUMENT: .*temperature"):
                spoiler.result()
            seeds = np.array([[5, 0], [5, 1], [5, 2]])
            expected = small_saved_model.expected_samples(seeds, np.ones(3, np.float32), SHAPE)
            np.testing.assert_array_equal(good.result(), expected)
        assert sorted(stand_in.batching.batches[0][1]) == [1, 3]
        assert stand_in.batching.batches[1:] == [("sample", [3])]
        assert len(waits) == 1


def test_clients_load_neither_tensorflow_nor_flows():
    code = (
        "import sys, export.client, export.rest_client, export.grpc_client, export.score;"
        "heavy = ('tensorflow', 'keras', 'grpc', 'PIL', 'google.protobuf');"
        "print(*(name for name in heavy if name in sys.modules));"
        "print(*(n for n in sys.modules if n.startswith('lcma_tf.') and '.serving' not in n))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy, ours = done.stdout.split("\n")[:2]
    assert heavy == ""
    # Of the package these alone, which import nothing but the standard library: no flows, no flags.
    assert set(ours.split()) <= {"lcma_tf.errors", "lcma_tf.extras", "lcma_tf.typed"}


# From here on: the stand-in's REST is the documented one, by requests that the client does not make.


def post(stand_in, request, path="/v1/models/flow:predict"):
    connection = http.client.HTTPConnection(stand_in.rest_address, timeout=10)
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    connection.request("POST", path, body)
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def test_rows_of_one_output_are_bare_and_of_two_are_named(stand_in):
    images = random_images(2, SHAPE)
    totals = images.sum(axis=(1, 2, 3)).tolist()
    two = [{"log_prob": -total, "bits_per_dim": total / 16} for total in totals]
    for instances in (images.tolist(), [{"images": image.tolist()} for image in images]):
        code, answer = post(stand_in, {"signature_name": "log_prob", "instances": instances})
        assert (code, answer) == (200, {"predictions": two})
    latents = small_saved_model.expected_latents(images).tolist()
    request = {"signature_name": "encode", "instances": images.tolist()}
    assert post(stand_in, request) == (200, {"predictions": latents})
    request = {"signature_name": "encode", "inputs": images.tolist()}
    assert post(stand_in, request) == (200, {"outputs": latents})
    sample = {"seed": [1, 2], "temperature": 1.0}
    code, answer = post(stand_in, {"signature_name": "sample", "instances": [sample]})
    assert np.shape(answer["predictions"]) == (1, *SHAPE)


def test_numbers_wrap_where_no_client_checks(stand_in):
    image = np.zeros((1, *SHAPE), int)
    image[0, 0, 0, :2] = 300, -1
    _, answer = post(stand_in, {"inputs": image.tolist()})
    assert answer["outputs"]["log_prob"] == [-(44 + 255)]


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        (b"{", 400, "JSON Parse error"),
        ({}, 400, "Missing 'inputs' or 'instances'"),
        ({"instances": []}, 400, "no instances"),
        ({"inputs": [[1], [2, 3]]}, 400, "ragged"),
        ({"inputs": [0.5]}, 400, "not of type uint8"),
        ({"inputs": [[[[1.0]]]]}, 400, "not of type uint8"),
        ({"inputs": [[[[1]]]]}, 400, "Shape"),
        ({"inputs": {"images": [1], "more": [1]}}, 400, "does not match signature"),
        ({"signature_name": "train", "inputs": [1]}, 400, "train.*not found"),
        ({"signature_name": "log_prob_encoded", "inputs": [{"b64": "!"}]}, 400, "no string"),
        ({"signature_name": "log_prob_encoded", "inputs": ["text"]}, 400, "image"),
    ],
)
def test_bad_requests_get_the_servers_codes(stand_in, request_, code, message):
    found, answer = post(stand_in, request_)
    assert found == code
    assert list(answer) == ["error"]
    assert re.search(message, answer["error"])
