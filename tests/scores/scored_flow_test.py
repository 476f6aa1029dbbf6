"""A flow with a calibration: what each score says, at any rate, of any batch, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from lcma_tf.choices import SCORES
from lcma_tf.scores.measures import Measures
from lcma_tf.scores.table import Known
from testing import random_images, tiny_flow

UNUSUAL = {
    "black": np.zeros((4, 4, 1), np.uint8),
    "noise": random_images(1, (4, 4, 1))[0],
    "one_pixel": np.pad(np.full((1, 1, 1), 255, np.uint8), ((1, 2), (1, 2), (0, 0))) | 100,
}


@pytest.fixture(scope="module")
def normal(draw):
    return draw(200, seed=2)


@pytest.fixture(scope="module")
def scores(scored, normal):
    return {name: column.numpy() for name, column in scored.scores(normal).items()}


def test_every_score_of_the_table_is_there(scores):
    assert list(scores) == list(SCORES)
    for name, column in scores.items():
        assert column.shape == (200,), name
        assert column.dtype == (bool if name == "is_anomaly" else np.float32), name
        assert np.isfinite(column).all(), name


def test_they_are_what_the_flow_says(model, scored, normal, scores):
    np.testing.assert_allclose(scores["log_prob"], model.log_prob(normal), rtol=1e-5)
    np.testing.assert_allclose(scores["bits_per_dim"], model.bits_per_dim(normal), rtol=1e-5)
    files = [8 * len(tf.io.encode_png(image).numpy()) / 16 for image in normal]
    np.testing.assert_allclose(scores["complexity"], scores["bits_per_dim"] - files, rtol=1e-5)


def test_places_among_the_images_of_the_calibration(scored, normal, scores, draw):
    known = np.sort(scored.scores(draw(600))["log_prob"])
    below = np.searchsorted(known, scores["log_prob"]) / 601
    assert np.abs(scores["percentile"] / 100 - below).max() < 0.01
    expected = np.minimum(1, 2 * np.minimum(below, 1 - below))
    assert np.abs(scores["typicality"] - expected).max() < 0.02
    assert scores["percentile"].min() > 0 and scores["percentile"].max() < 100


def test_much_too_likely_is_not_typical(scored):
    calibration = scored.calibration
    ends = tf.constant([-1e6, np.median(calibration.tails["log_prob, above"].values), 1e6])
    known = Known({"log_prob": tf.cast(ends, tf.float32)}, calibration)
    low, middle, high = SCORES["typicality"].compute(known).numpy()
    assert low < 1e-3 and high < 1e-3 and middle > 0.95
    percentiles = SCORES["percentile"].compute(known).numpy()
    assert percentiles[0] < 0.1 and percentiles[2] > 99


def test_the_threshold_is_one_half(scored, normal, scores):
    np.testing.assert_array_equal(scores["is_anomaly"], scores["anomaly_score"] >= 0.5)
    assert scores["anomaly_score"].min() >= 0 and scores["anomaly_score"].max() <= 1
    # The rarer the density of states, the higher.
    order = np.argsort(scores["density_of_states"])
    assert (np.diff(scores["anomaly_score"][order]) <= 1e-6).all()


@pytest.mark.parametrize("rate", [0.001, 0.2, 0.4999])
def test_another_rate_moves_the_threshold_alone(scored, normal, scores, rate):
    found = {name: column.numpy() for name, column in scored.scores(normal, rate).items()}
    for name in set(SCORES) - {"anomaly_score", "is_anomaly"}:
        np.testing.assert_array_equal(found[name], scores[name])
    moved = found["anomaly_score"] > scores["anomaly_score"]
    assert moved.all() if rate > 0.05 else not moved.any()
    # Equal up to rounding for the image that the threshold is at, if there is one.
    clear = np.abs(found["anomaly_score"] - 0.5) > 1e-6
    np.testing.assert_array_equal(found["is_anomaly"][clear], (found["anomaly_score"] > 0.5)[clear])
    assert abs(found["is_anomaly"].mean() - rate) < 0.1


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_of_another_kind_is_found(scored, name):
    found = scored.scores(UNUSUAL[name][None])
    assert found["is_anomaly"].numpy().tolist() == [True]
    assert found["anomaly_score"].numpy()[0] > 0.7


def test_the_heat_map_is_what_is_missing_to_the_mean_around_a_pixel(model, scored, normal, scores):
    found = scored.scores(normal, heat_map=True)
    heat = found.pop("heat_map").numpy()
    assert heat.shape == (200, 4, 4) and list(found) == list(scores)
    measures = Measures(model.frozen(), model.factorization)
    missing = scored.calibration.mean_map - measures.with_map(tf.constant(normal))[1].numpy()
    around = [slice(max(0, place - 2), place + 3) for place in range(4)]  # Of 5x5 what there is.
    for row, column in np.ndindex(4, 4):
        mean = missing[:, around[row], around[column]].mean(axis=(1, 2))
        np.testing.assert_allclose(heat[:, row, column], mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scored.heat_map(normal), heat)
    for name, values in found.items():
        np.testing.assert_allclose(values, scores[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_another_rate_needs_no_other_pass(scored, normal, scores, rate):
    decisive = scores[scored.calibration.anomaly_by]
    found = scored.calibration.is_anomaly(decisive, rate)
    np.testing.assert_array_equal(found, scored.scores(normal, rate)["is_anomaly"])


def test_no_images_have_no_scores(scored):
    nothing = np.zeros((0, 4, 4, 1), np.uint8)
    found = scored.scores(nothing, heat_map=True)
    assert found.pop("heat_map").shape == (0, 4, 4)
    assert list(found) == list(SCORES)
    assert all(column.shape == (0,) for column in found.values())
    assert found["is_anomaly"].dtype == tf.bool
    assert list(scored.scores(nothing)) == list(SCORES)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 4, 4, 1), np.float32), "`images` must be uint8 .* float32"),
        (np.zeros((2, 4, 4, 1), np.int64), "`images` must be uint8 .* int64"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"`images` must have shape \[N, 4, 4, 1\]"),
        (np.zeros((4, 4, 1), np.uint8), r"`images` must have shape \[N, 4, 4, 1\]"),
    ],
)
def test_other_images_are_refused(scored, images, words):
    with pytest.raises(ValueError, match=words):
        scored.scores(images)


def test_model_and_calibration_are_no_other_things(model, calibration):
    for wrong, found in ((None, "None"), ("calibration.npz", "str")):
        rule = "`calibration` must be a Calibration; got"
        with pytest.raises(lcma_tf.ConfigError, match=f"{rule} {found}"):
            lcma_tf.ScoredFlow(model, wrong)
    with pytest.raises(lcma_tf.ConfigError, match="`model` must be a FlowModel; got FrozenFlow"):
        lcma_tf.ScoredFlow(model.frozen(), calibration)


@pytest.mark.parametrize(
    "rate", [0.0, -0.1, 0.5, 1.0, np.nan, "0.1", (0.1, 0.2), 1e-300, 1e-40, 0.5 - 1e-12]
)
def test_what_is_no_rate_is_refused(scored, normal, rate):
    with pytest.raises(
        lcma_tf.CalibrationError, match="`false_alarm_rate` must be between 0 and 0.5"
    ):
        scored.scores(normal, false_alarm_rate=rate)


def test_a_score_that_needs_a_codec_is_not_there_without_one():
    images = random_images(100, (4, 4, 5))
    other = tiny_flow(image_shape=(4, 4, 5))
    calibration = lcma_tf.calibrate(other, images, anomaly_by="log_prob", verbose=False)
    found = lcma_tf.ScoredFlow(other, calibration).scores(images[:2])
    assert list(found) == [name for name in SCORES if name != "complexity"]
    assert "complexity" not in calibration.tails
