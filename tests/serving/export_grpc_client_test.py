"""The gRPC client against the model server's stand-in; needs tensorflow-serving-api."""

import socket

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving")

import served_cases
from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.grpc import GrpcTransport
from lcma_tf.serving.client.transport import ServingError
from served_cases import SHAPE, Waits, client_of, opened_session
from serving_stand_in import ServingStandIn
from testing import random_images

LARGE = (224, 224, 3)


@pytest.fixture
def stand_in(session):
    with ServingStandIn(session, version=7, grpc=True) as stand_in:
        yield stand_in


@pytest.fixture
def transport(stand_in):
    transport = GrpcTransport(stand_in.grpc_address, "flow")
    yield transport
    transport.close()


@pytest.mark.parametrize("case", served_cases.OF_EVERY_TRANSPORT)
def test_case(case, transport, stand_in):
    case(transport, stand_in)


@pytest.mark.parametrize(("name", "version"), [("nobody", None), ("flow", 2)])
def test_another_model(stand_in, name, version):
    served_cases.check_another_model(GrpcTransport(stand_in.grpc_address, name, version))


def test_a_version_can_be_named(stand_in):
    transport = GrpcTransport(stand_in.grpc_address, "flow", version=7)
    assert client_of(transport).status() == {7: "AVAILABLE"}
    assert client_of(transport).log_prob(random_images(3, SHAPE)).shape == (3,)


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # Bound, but it does not listen.
        port = unused.getsockname()[1]
        served_cases.check_nobody_there(GrpcTransport(f"127.0.0.1:{port}", "flow"))


@pytest.mark.parametrize("address", ["", "host", "http://host:8500", "host:port"])
def test_an_address_has_rules(address):
    with pytest.raises(RequestError, match="`address` must be host:port"):
        GrpcTransport(address, "flow")


def test_a_signature_that_is_not_there(transport):
    with pytest.raises(ServingError, match="no signature `train`; it has .'decode', 'encode'"):
        transport.input_shapes("train", timeout=5)


def test_messages_stay_below_what_grpc_takes(tmp_path):
    """Requests are cut below 4 MB, of which Python's server takes no more; answers may be longer."""
    images = random_images(8, LARGE)
    with (
        opened_session(tmp_path, LARGE) as session,
        ServingStandIn(session, grpc=True) as stand_in,
    ):
        transport = GrpcTransport(stand_in.grpc_address, "flow")
        waits = Waits()
        client = client_of(transport, retries=waits.retries())
        latents = client.encode(images)
        assert latents.nbytes > 4 * 2**20
        np.testing.assert_array_equal(client.decode(latents), images)
        assert stand_in.requests == [("encode", 8), ("decode", 6), ("decode", 2)]
        # Uncut, a message is refused, and not sent again.
        uncut = client_of(transport, max_message_bytes=2**30, retries=waits.retries())
        with pytest.raises(ServingError, match="RESOURCE_EXHAUSTED.*larger than max"):
            uncut.decode(latents)
        assert not waits
        transport.close()
