"""What a calibration adds to an export: the scores of Python, by the C++ loader and by both clients."""

import csv

import numpy as np
import pytest

import lcma_tf
from lcma_tf.choices import SCORES
from lcma_tf.scores.scored_flow import ScoringGraph
from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.grpc import GrpcTransport
from lcma_tf.serving.client.rest import RestTransport
from lcma_tf.serving.client.score import main as client_main
from lcma_tf.serving.client.transport import ServingError
from lcma_tf.serving.publishing.export_flow import export_flow
from lcma_tf.serving.runtime.cpp_session import CppSession, CppSessionError
from lcma_tf.serving.runtime.scoring_note import ScoringNote
from saved_flows import save_flow
from served_cases import encode_file
from serving_stand_in import ServingStandIn
from testing import assert_same_in_any_batch, random_images, tiny_flow

INVALID_ARGUMENT = 3
SHAPE = (8, 8, 3)
CALIBRATED = ("scores", "scores_encoded", "scores_at_rate", "heat_map")
# By how much scores may differ in batches of other sizes: of their size, and in their own unit.
PROMISED = {
    "last_scale": (1e-5, 0),
    "density_of_states": (1e-5, 1e-4),
    "complexity": (0, 1e-5),
    "percentile": (0, 1e-2),
    "typicality": (0, 1e-4),
    "anomaly_score": (0, 1e-4),
}
# Of the images of a calibration, where no score is at an end of its table.
IMAGES = random_images(128, SHAPE)


@pytest.fixture(scope="module")
def scored():
    model = tiny_flow(image_shape=SHAPE)
    return lcma_tf.ScoredFlow(model, lcma_tf.calibrate(model, IMAGES, verbose=False)), model


@pytest.fixture(scope="module")
def session(scored, tmp_path_factory):
    flow, model = scored
    frozen = model.frozen()
    graph = ScoringGraph(frozen, model.factorization, flow.calibration)
    folder = save_flow(frozen, tmp_path_factory.mktemp("export") / "flow", scoring=graph)
    with CppSession(folder, check=False) as session:
        yield session


def clients(session):
    """A client over each protocol that can be had here."""
    with ServingStandIn(session, grpc=True) as stand_in:
        for transport in (
            RestTransport(stand_in.rest_address, "flow"),
            GrpcTransport(stand_in.grpc_address, "flow"),
        ):
            with ServingClient(transport, max_batch_size=5) as client:
                yield client


def assert_scores(found, expected):
    assert {*found} == {*expected} == {*SCORES}
    for name, values in expected.items():
        values = values.numpy()
        assert found[name].dtype == values.dtype, name
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_every_score_is_that_of_python(scored, session):
    flow, images = scored[0], IMAGES[:9]
    expected = flow.scores(images)
    assert_scores(session.run("scores", {"images": images}), expected)
    files = np.array([encode_file(image) for image in images], object)
    assert_scores(session.run("scores_encoded", {"image_bytes": files}), expected)
    rates = np.full(9, 0.2, np.float32)
    at_rate = session.run("scores_at_rate", {"images": images, "false_alarm_rate": rates})
    assert_scores(at_rate, flow.scores(images, 0.2))
    assert not np.array_equal(at_rate["anomaly_score"], expected["anomaly_score"])
    heat = session.run("heat_map", {"images": images})["heat_map"]
    np.testing.assert_allclose(heat, flow.heat_map(images), rtol=1e-5, atol=1e-5)


def test_what_was_there_before_gives_the_same(scored, session):
    model = scored[1]
    found = session.run("log_prob", {"images": IMAGES[:5]})
    np.testing.assert_allclose(found["log_prob"], model.log_prob(IMAGES[:5]), rtol=1e-6)
    scores = session.run("scores", {"images": IMAGES[:5]})
    for name, values in found.items():
        np.testing.assert_allclose(scores[name], values, rtol=1e-6)


def test_each_row_has_its_own_rate(scored, session):
    rates = np.array([0.01, 0.1, 0.4], np.float32)
    image = np.repeat(IMAGES[:1], 3, axis=0)
    found = session.run("scores_at_rate", {"images": image, "false_alarm_rate": rates})
    expected = [float(scored[0].scores(image[:1], float(r))["anomaly_score"][0]) for r in rates]
    np.testing.assert_allclose(found["anomaly_score"], expected, rtol=1e-4)
    assert np.all(np.diff(expected) > 0)  # Whoever bears more false alarms is sooner alarmed.


@pytest.mark.parametrize("size", [1, 3])
def test_scores_do_not_depend_on_the_batch(session, size):
    whole = session.run("scores", {"images": IMAGES[:12]})
    parts = [session.run("scores", {"images": IMAGES[i : i + size]}) for i in range(0, 12, size)]
    for name, values in whole.items():
        found = np.concatenate([part[name] for part in parts])
        if name in ("log_prob", "bits_per_dim", "last_scale"):
            assert_same_in_any_batch(found, values, name)
        else:  # Shares of a table, and differences, in which a last digit weighs more.
            np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5, err_msg=name)
        # And what docs/exactness.md promises, of any image.
        relative, absolute = PROMISED.get(name, (1e-6, 0))
        np.testing.assert_allclose(found, values, relative, absolute, err_msg=name)


@pytest.mark.parametrize("rate", [0.0, 0.5, -1.0, np.nan])
def test_a_rate_that_is_none_is_refused(session, rate):
    rates = np.array([0.01, rate], np.float32)
    with pytest.raises(CppSessionError, match="false_alarm_rate: must be between") as refusal:
        session.run("scores_at_rate", {"images": IMAGES[:2], "false_alarm_rate": rates})
    assert refusal.value.code == INVALID_ARGUMENT


@pytest.mark.parametrize("signature", CALIBRATED)
def test_no_rows_and_too_many_are_refused(session, signature):
    for rows in (0, 65):
        inputs = {"images": np.zeros((rows, *SHAPE), np.uint8)}
        if signature == "scores_encoded":
            inputs = {"image_bytes": np.array([encode_file(IMAGES[0])] * rows, object)}
        if signature == "scores_at_rate":
            inputs["false_alarm_rate"] = np.full(rows, 0.1, np.float32)
        with pytest.raises(CppSessionError, match="must have 1 to 64 rows"):
            session.run(signature, inputs)


def test_clients_ask_for_them(scored, session):
    pytest.importorskip("tensorflow_serving")
    flow, images = scored[0], IMAGES[:12]
    for client in clients(session):
        assert_scores(client.anomaly_scores(images), flow.scores(images))
        assert_scores(client.anomaly_scores(images, 0.2), flow.scores(images, 0.2))
        files = [encode_file(image) for image in images]
        assert_scores(client.anomaly_scores_encoded(files), flow.scores(images))
        heat = client.heat_map(images)
        np.testing.assert_allclose(heat, flow.heat_map(images), rtol=1e-5, atol=1e-5)
        with pytest.raises(RequestError, match="`false_alarm_rate` must be between 0 and 0.5"):
            client.anomaly_scores(images, 0.5)


def test_the_command_of_the_client_writes_them(scored, session, tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(9)]
    for path, image in zip(files, IMAGES, strict=False):
        path.write_bytes(encode_file(image))
    files[3].write_bytes(b"GIF89a")
    table = tmp_path / "scores.csv"
    with ServingStandIn(session) as stand_in:
        asked = ["score", tmp_path, "--all_scores", f"--csv={table}"]
        assert client_command(stand_in, *asked) == 1
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    first = ["file", "log_prob", "bits_per_dim"]
    assert [*rows[0]][:3] == first and {*rows[0]} == {"file", *SCORES, "error"}
    bad = rows.pop(3)
    assert bad["error"] and not any(bad[name] for name in SCORES)
    expected = scored[0].scores(np.delete(IMAGES[:9], 3, axis=0))
    assert [row["is_anomaly"] for row in rows] == [f"{v}" for v in expected["is_anomaly"].numpy()]
    for name in {*SCORES} - {"is_anomaly"}:
        found = np.float32([row[name] for row in rows])
        np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_command_asks_no_model_without_a_calibration(scored, tmp_path, capsys):
    (tmp_path / "0.png").write_bytes(encode_file(IMAGES[0]))
    table = tmp_path / "scores.csv"
    table.write_text("of before")
    with (
        CppSession(save_flow(scored[1].frozen(), tmp_path / "flow"), check=False) as session,
        ServingStandIn(session) as stand_in,
    ):
        assert client_command(stand_in, "score", tmp_path, "--all_scores", f"--csv={table}") == 1
    assert "must have been exported with a calibration to answer" in capsys.readouterr().err
    assert table.read_text() == "of before"


def client_command(stand_in, *argv):
    return client_main([f"--address={stand_in.rest_address}", "--model=flow", *map(str, argv)])


def test_an_export_without_a_calibration_is_told(scored, tmp_path):
    pytest.importorskip("tensorflow_serving")
    with CppSession(save_flow(scored[1].frozen(), tmp_path / "flow"), check=False) as session:
        assert not {*CALIBRATED} & {*session.signatures}
        for client in clients(session):
            for ask in (client.anomaly_scores, client.heat_map):
                with pytest.raises(ServingError, match="exported with a calibration to answer"):
                    ask(IMAGES[:2])


def test_a_published_export_is_held_to_python(scored, tmp_path, capsys):
    flow, model = scored
    version = export_flow(model, tmp_path / "served", calibration=flow.calibration)
    told = capsys.readouterr().out
    for signature in CALIBRATED:
        assert f"{signature}: first run" in told
    assert "`scores_at_rate`" in (version / "MODEL_CARD.md").read_text()
    assert ScoringNote.read(version) == ScoringNote(SHAPE, 0.01, "density_of_states", "low", 64)
    other = tiny_flow(image_shape=SHAPE, random_weights=2)
    with pytest.raises(lcma_tf.CalibrationError, match="must be that of this flow"):
        export_flow(other, tmp_path / "served", calibration=flow.calibration)
    assert [path.name for path in (tmp_path / "served").iterdir()] == [version.name]
