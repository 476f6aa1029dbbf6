"""What the pages ask for: a trained run where they look for one, and a server that answers."""

import pytest

import lcma_tf
from saved_flows import opened_calibrated_flow
from served_cases import opened_session
from serving_stand_in import ServingStandIn


@pytest.fixture(scope="session")
def photographs():
    """The embedded data set, which the pages use."""
    return lcma_tf.data.load("photo_patches")


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory, photographs):
    """A folder in which `runs/quickstart` is a flow of such images, small and hardly trained."""
    folder = tmp_path_factory.mktemp("documents")
    config = lcma_tf.FlowConfig(num_scales=1, base_dim=2, num_residual_blocks=1, num_couplings=1)
    model = lcma_tf.FlowModel(config)
    model.compile("adam", loss=lcma_tf.NegativeLogLikelihood(), jit_compile=False)
    model.fit(photographs.train[:16], batch_size=8, verbose=0)
    (folder / "runs" / "quickstart").mkdir(parents=True)
    model.save(folder / "runs" / "quickstart" / "model.keras")
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A stand-in for TensorFlow Serving, REST and gRPC, with a model of the signatures of a flow."""
    folder = tmp_path_factory.mktemp("served")
    with opened_session(folder) as session, ServingStandIn(session, grpc=True) as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def calibrated_server(tmp_path_factory):
    """The address of a stand-in with an export of a calibrated flow."""
    folder = tmp_path_factory.mktemp("calibrated")
    with opened_calibrated_flow(folder) as session, ServingStandIn(session) as stand_in:
        yield stand_in.rest_address


@pytest.fixture(scope="session")
def server(served):
    """Its address for REST."""
    return served.rest_address
