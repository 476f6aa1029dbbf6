"""A calibration: what is learned of normal images, kept in a file, and refused where it is not whole."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from lcma_tf import CalibrationError
from lcma_tf.choices import SCORES
from lcma_tf.extras import MissingExtraError
from lcma_tf.scores.calibration import fingerprint_of
from lcma_tf.scores.measures import Measures
from lcma_tf.scores.table import Known
from testing import random_images, randomize, tiny_flow

NOT_RAW = {"percentile", "typicality", "anomaly_score", "is_anomaly"}


def assert_same(found, expected):
    for field in dataclasses.fields(found):
        if field.name not in ("tails", "states", "mean_map"):
            assert getattr(found, field.name) == getattr(expected, field.name), field.name
    np.testing.assert_array_equal(found.mean_map, expected.mean_map)
    arrays, others = found.states.to_arrays(), expected.states.to_arrays()
    assert list(found.tails) == list(expected.tails)
    for name in found.tails:
        arrays |= found.tails[name].to_arrays(name)
        others |= expected.tails[name].to_arrays(name)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def test_it_says_what_it_was_made_of(model, calibration):
    assert calibration.fingerprint == fingerprint_of(model)
    assert (calibration.num_images, calibration.num_dimensions) == (600, 16)
    assert (calibration.false_alarm_rate, calibration.seed) == (0.05, 0)
    assert {*calibration.tails} == {*SCORES} - NOT_RAW | {"log_prob, above"}
    assert calibration.mean_map.shape == (4, 4) and calibration.mean_map.dtype == np.float32


def test_the_mean_map_is_that_of_the_images(model, scored, draw):
    log_prob = scored.scores(draw(600))["log_prob"].numpy()
    assert scored.calibration.mean_map.sum() == pytest.approx(log_prob.mean(), rel=1e-5)
    assert np.abs(scored.heat_map(draw(600)).numpy().mean(axis=0)).max() < 1e-3


def test_the_same_images_make_the_same_calibration(model, calibration, draw):
    again = lcma_tf.calibrate(model, draw(600), false_alarm_rate=0.05, verbose=False)
    assert_same(again, calibration)


def test_as_many_alarms_as_were_asked_for(model, calibration, draw):
    """Among images of the same kind that the calibration has not seen, by every score."""
    count = 3_000
    found = Measures(model.frozen(), model.factorization).of(tf.constant(draw(count, seed=1)))
    known = Known(found, calibration)
    by = [name for name in calibration.tails if name in SCORES]
    assert len(by) == 5
    for name in by:
        rarity = calibration.log_rarity(name, known).numpy()
        for rate in (0.01, 0.05, 0.3):
            # Both these images and the table are samples.
            deviation = np.sqrt(rate * (1 - rate) * (1 / count + 1 / calibration.num_images))
            assert abs(np.mean(rarity <= np.log(rate)) - rate) < 3.5 * deviation, (name, rate)


def test_it_comes_back_from_its_file(calibration, tmp_path):
    calibration.save(tmp_path / "calibration.npz")
    assert_same(lcma_tf.Calibration.load(tmp_path / "calibration.npz"), calibration)


def test_damage_anywhere_in_the_file_is_found(calibration, tmp_path):
    path = tmp_path / "calibration.npz"
    calibration.save(path)
    whole = path.read_bytes()
    places = np.random.default_rng(0).choice(len(whole), 150, replace=False)
    for place in [0, len(whole) - 1, *places]:
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(CalibrationError, match="must be a file of lcma_tf.calibrate"):
            lcma_tf.Calibration.load(path)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CalibrationError, match="must be a file of lcma_tf.calibrate"):
            lcma_tf.Calibration.load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": np.int64(2)}, "its format is 2"),
        ({"fingerprint": None}, "it has no 'fingerprint'"),
        ({"scores": np.array(["gone"])}, "it has no 'gone.values'"),
        ({"mean_map": np.zeros(3, np.float32)}, "its mean map is none"),
        ({"mean_map": np.full((4, 4), np.nan, np.float32)}, "its mean map is none"),
        ({"false_alarm_rate": np.array(0.7)}, "between 0 and 0.5"),
        ({"anomaly_by": np.array("gone")}, "`anomaly_by` must be one of log_prob, .*'gone'"),
        ({"states.log_weights": np.zeros(9)}, "its distribution of states is none"),
        ({"num_images": np.array("many")}, "invalid literal"),
        ({"num_images": np.array(-3)}, r"its number of images is none\.$"),
    ],
)
def test_a_file_of_another_form_is_refused(calibration, tmp_path, changes, words):
    path = tmp_path / "calibration.npz"
    calibration.save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    np.savez(path, **arrays)
    with pytest.raises(CalibrationError, match=words):
        lcma_tf.Calibration.load(path)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="none.npz.*No such file"):
        lcma_tf.Calibration.load(tmp_path / "none.npz")


def test_it_is_that_of_one_flow(model, calibration):
    calibration.check_fits(model)
    others = [
        tiny_flow("realnvp", image_shape=(4, 4, 1)),
        tiny_flow(image_shape=(4, 4, 1), random_weights=2),
        tiny_flow(image_shape=(4, 4, 1), alpha=0.01),
    ]
    for other in others:
        with pytest.raises(CalibrationError, match="must be that of this flow; got one of another"):
            lcma_tf.ScoredFlow(other, calibration)


@pytest.mark.parametrize("part", ["mean_map", "num_dimensions", "states"])
def test_one_of_other_pixels_dimensions_or_measures_is_refused(model, calibration, part):
    other = {
        "mean_map": np.zeros((3, 4), np.float32),
        "num_dimensions": 0,
        "states": dataclasses.replace(calibration.states, names=("foo",)),
    }
    changed = dataclasses.replace(calibration, **{part: other[part]})
    with pytest.raises(CalibrationError, match="must be whole; its map, dimensions or measures"):
        lcma_tf.ScoredFlow(model, changed)


def test_it_is_that_of_the_weights_it_was_made_with():
    other = tiny_flow(image_shape=(4, 4, 1))
    before = fingerprint_of(other)
    other.training_calls.assign_add(1)  # Counts; changes no score.
    assert fingerprint_of(other) == before
    randomize(other, seed=4)
    assert fingerprint_of(other) != before


@pytest.mark.parametrize(
    ("images", "options", "error", "words"),
    [
        (slice(99), {}, CalibrationError, "`images` must be at least 100 .*; got 99"),
        (slice(0), {}, CalibrationError, "`images` must be at least 100 .*; got 0"),
        (
            np.zeros((100, 4, 4, 1), np.uint8),
            {},
            CalibrationError,
            "`log_prob` must differ .* for all",
        ),
        (random_images(100, (4, 4, 3)), {}, ValueError, r"`images` must have shape \[N, 4, 4, 1\]"),
        (random_images(100, (4, 4)), {}, lcma_tf.data.DataError, r"\[N, H, W, C\]; got uint8"),
        (random_images(100, (4, 4, 1)).tolist(), {}, lcma_tf.data.DataError, "array .*; got list"),
        (np.zeros((100, 4, 4, 1), np.float32), {}, ValueError, "uint8 .* got dtype float32"),
        (slice(100), {"seed": (0, 1)}, lcma_tf.ConfigError, "`seed` must be one integer"),
        (slice(100), {"batch_size": "8"}, lcma_tf.data.DataError, "`batch_size` .*; got '8'"),
        (slice(100), {"false_alarm_rate": None}, CalibrationError, "between 0 .*; got None"),
        (np.zeros((100, 4, 4, 1)), {}, lcma_tf.data.DataError, "uint8"),
        (slice(100), {"false_alarm_rate": 0.5}, CalibrationError, "between 0 and 0.5.*; got 0.5"),
        (slice(100), {"false_alarm_rate": 0}, CalibrationError, "between 0 and 0.5.*; got 0"),
        (
            slice(100),
            {"false_alarm_rate": np.nan},
            CalibrationError,
            "between 0 and 0.5.*; got nan",
        ),
        (
            slice(100),
            {"anomaly_by": "typicality"},
            CalibrationError,
            "one of log_prob.*'typicality'",
        ),
        (
            slice(100),
            {"anomaly_by": "gone"},
            CalibrationError,
            "`anomaly_by` must be one of .*'gone'",
        ),
    ],
)
def test_it_is_refused(model, draw, images, options, error, words):
    images = draw(100)[images] if isinstance(images, slice) else images
    with pytest.raises(error, match=words):
        lcma_tf.calibrate(model, images, verbose=False, **options)


def test_a_flow_of_real_numbers_is_refused():
    other = tiny_flow(image_shape=(4, 4, 1), real_valued=True)
    with pytest.raises(
        CalibrationError, match="`model` must be of 8-bit images; got .* real-valued"
    ):
        lcma_tf.calibrate(other, np.zeros((100, 4, 4, 1), np.float32), verbose=False)


def test_what_no_png_holds_is_scored_without_one(monkeypatch):
    other = tiny_flow(image_shape=(4, 4, 5))
    with pytest.raises(
        CalibrationError, match="`anomaly_by` must be one of log_prob.*'complexity'"
    ):
        lcma_tf.calibrate(other, random_images(100, (4, 4, 5)), anomaly_by="complexity")


def test_scikit_learn_is_missed_before_images_are_measured(model, draw, monkeypatch):
    def refuse(module, extra, purpose, package):
        raise MissingExtraError(f"`{module}` must be installed to {purpose}")

    monkeypatch.setattr("lcma_tf.scores.calibrate.require_extra", refuse)
    monkeypatch.setattr("lcma_tf.scores.calibrate.Measures", None)
    with pytest.raises(MissingExtraError, match="`sklearn` must be installed to calibrate"):
        lcma_tf.calibrate(model, draw(100), verbose=False)


def test_a_score_that_left_the_table_scores_no_anomalies(calibration, monkeypatch, tmp_path):
    calibration = dataclasses.replace(calibration, anomaly_by="last_scale")
    calibration.save(tmp_path / "calibration.npz")
    # Put back by itself it would be the last of the table.
    others = {name: score for name, score in SCORES.items() if name != "last_scale"}
    monkeypatch.setattr(SCORES, "_entries", others)
    with pytest.raises(CalibrationError, match="`anomaly_by` must be one of .*; got 'last_scale'"):
        lcma_tf.Calibration.load(tmp_path / "calibration.npz")
