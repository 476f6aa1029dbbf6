"""What the pages ask for: a trained run where they look for one, and a server that answers."""

import pytest

import lcma_tf
from lcma_tf.scores.scored_flow import ScoringGraph
from lcma_tf.serving.runtime.cpp_session import CppSession
from saved_flows import save_flow
from served_cases import opened_session
from serving_stand_in import ServingStandIn
from testing import random_images, tiny_flow


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
    shape = (8, 8, 3)
    model = tiny_flow(image_shape=shape, num_scales=1)
    calibration = lcma_tf.calibrate(model, random_images(128, shape), verbose=False)
    flow = model.frozen()
    scoring = ScoringGraph(flow, model.factorization, calibration)
    folder = save_flow(flow, tmp_path_factory.mktemp("calibrated") / "1", scoring=scoring)
    with CppSession(folder, check=False) as session, ServingStandIn(session) as stand_in:
        yield stand_in.rest_address


@pytest.fixture(scope="session")
def server(served):
    """Its address for REST."""
    return served.rest_address
