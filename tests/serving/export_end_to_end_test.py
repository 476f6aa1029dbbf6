"""A finished run, exported, behind the stand-in for the model server, asked by our clients."""

import csv
import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import commands
import lcma_tf
from lcma_tf.serving.client import score
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.rest import RestTransport
from lcma_tf.serving.client.retry import Retries
from lcma_tf.serving.runtime.cpp_session import CppSession
from served_cases import encode_file
from serving_stand_in import ServingStandIn
from testing import assert_same_in_any_batch, random_images

HAS_GRPC = importlib.util.find_spec("tensorflow_serving") is not None
IMAGES = random_images(70, commands.SHAPE)


@pytest.fixture(scope="module")
def stand_in(exported):
    batching = {"max_batch_size": 64, "timeout": 0.005}
    with (
        CppSession(exported.version, check=False) as session,
        ServingStandIn(session, batching=batching, grpc=HAS_GRPC) as stand_in,
    ):
        yield stand_in


@pytest.fixture(
    params=["rest", pytest.param("grpc", marks=pytest.mark.skipif(not HAS_GRPC, reason="no grpc"))]
)
def client(request, stand_in):
    if request.param == "rest":
        transport = RestTransport(stand_in.rest_address, "flow")
    else:
        from lcma_tf.serving.client.grpc import GrpcTransport

        transport = GrpcTransport(stand_in.grpc_address, "flow")
    with ServingClient(transport) as client:
        yield client


@pytest.fixture(scope="module")
def model(exported):
    return lcma_tf.load(exported.workdir).frozen()


def test_scores_latents_and_samples(client, model):
    assert client.image_shape == commands.SHAPE
    scores = client.score(IMAGES)
    np.testing.assert_allclose(scores.log_prob, model.log_prob(IMAGES), rtol=1e-5)
    np.testing.assert_allclose(scores.bits_per_dim, model.bits_per_dim(IMAGES), rtol=1e-5)
    files = [encode_file(image) for image in IMAGES]
    np.testing.assert_array_equal(client.score_encoded(files).log_prob, scores.log_prob)
    np.testing.assert_array_equal(client.decode(client.encode(IMAGES)), IMAGES)
    samples = client.sample(70, seed=3, temperature=0.8)
    assert samples.shape == (70, *commands.SHAPE) and samples.dtype == np.uint8
    assert_same_in_any_batch(client.sample(7, seed=3, temperature=0.8), samples[:7])


def test_clients_at_once_get_what_they_get_alone(client, stand_in):
    parts = np.array_split(IMAGES, 14)
    alone = [client.log_prob(part) for part in parts]
    before = len(stand_in.batching.batches)
    with ThreadPoolExecutor(len(parts)) as pool:
        together = list(pool.map(client.log_prob, parts))
    assert len(stand_in.batching.batches) - before < len(parts), "None were merged."
    for found, expected in zip(together, alone, strict=True):
        assert_same_in_any_batch(found, expected)


def test_one_that_spoils_its_batch_costs_the_others_a_retry(stand_in, model):
    """A temperature that is out of range, sent past our client's checks by another one."""
    transport = RestTransport(stand_in.rest_address, "flow")
    waits = []
    retries = Retries(random=lambda: 0.0, sleep=waits.append)
    bad = {"seed": np.zeros((1, 2), np.int32), "temperature": np.array([9], np.float32)}
    expected = ServingClient(transport).sample(3, seed=1)

    def spoil(_):
        with pytest.raises(Exception, match="temperature: must be between"):
            transport.predict("sample", bad, 30)

    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            spoiling = pool.submit(spoil, None)
            found = ServingClient(transport, retries=retries).sample(3, seed=1)
            spoiling.result()
        assert_same_in_any_batch(found, expected)
        if waits:
            return
    pytest.fail("The two requests were never merged.")


def test_the_command_scores_a_folder_and_draws(stand_in, model, tmp_path, capsys):
    for index, image in enumerate(IMAGES[:5]):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    server = [f"--address={stand_in.rest_address}", "--model=flow"]
    table = tmp_path / "scores.csv"
    assert score.main([*server, "score", str(tmp_path), f"--csv={table}"]) == 0
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    found = np.array([row["log_prob"] for row in rows], np.float32)
    np.testing.assert_allclose(found, model.log_prob(IMAGES[:5]), rtol=1e-5)
    output = tmp_path / "drawn.png"
    assert score.main([*server, "sample", "--num=4", f"--output={output}"]) == 0
    assert np.asarray(Image.open(output)).std() > 0
