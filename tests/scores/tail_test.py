"""How rare a value is: the share that a new one of the same kind has, and an order beyond all known."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import CalibrationError
from lcma_tf.scores.tail import Tail


def log_shares(tail, values):
    return tail.log_share(tf.constant(np.asarray(values), tf.float32)).numpy()


def normal_values(count, seed=0):
    """All different, which thousands of float32 drawn at random are not."""
    rng = np.random.default_rng(seed)
    drawn = np.unique(rng.normal(size=2 * count).astype(np.float32))
    return rng.choice(drawn, count, replace=False)


@pytest.mark.parametrize("count", [2, 100, 5_000])
def test_the_share_at_a_known_value_is_how_many_have_at_least_as_much(count):
    ranked = np.sort(normal_values(count))
    tail = Tail.of("score", ranked)
    expected = np.log((count - np.arange(count)) / (count + 1))
    kept = np.isin(ranked, tail.values)  # Of many, not all are in the table.
    assert kept.sum() == len(tail.values) <= 3_072 + 2 * 512 and kept[:2].all() and kept[-2:].all()
    np.testing.assert_allclose(log_shares(tail, ranked[kept]), expected[kept], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(log_shares(tail, ranked), expected, rtol=2e-3, atol=1e-6)


def test_each_of_n_plus_1_alike_in_turn_alarms_for_just_the_share_asked():
    """The claim of conformal prediction, counted: leave one out, and ask the others about it."""
    values, k = normal_values(101), 5
    rare = [
        log_shares(Tail.of("score", np.delete(values, i)), values[i : i + 1]) for i in range(101)
    ]
    # Just above the threshold, which is a known value itself.
    assert np.sum(np.concatenate(rare) <= np.log(k / 101) + 1e-6) == k


def test_it_falls_everywhere_and_exponentially_beyond_the_largest():
    values = normal_values(500)
    tail = Tail.of("score", values)
    grid = np.linspace(-6, 12, 4_000)
    shares = log_shares(tail, grid)
    assert (shares < 0).all() and (np.diff(shares) <= 1e-7).all()
    inside = (grid > values.min()) & (grid < values.max())
    assert (np.diff(shares[inside]) < 0).all()
    ranked = np.sort(values)
    assert tail.scale == pytest.approx(np.mean(ranked[-10:] - ranked[-11]), rel=1e-5)
    beyond = values.max() + np.array([0, 1, 2, 1e6, np.inf])
    expected = np.log(1 / 501) - (beyond - values.max()) / tail.scale
    np.testing.assert_allclose(log_shares(tail, beyond), expected, rtol=1e-5)
    assert log_shares(tail, [-1e30, -np.inf]) == pytest.approx(np.log(500 / 501), rel=1e-3)


def test_what_is_no_number_is_beyond_all():
    assert log_shares(Tail.of("score", normal_values(100)), [np.nan])[0] == -np.inf


def test_equal_values_have_the_share_of_all_of_them():
    for times in (1, 1_777):  # Of many, not all rows are in the table.
        tail = Tail.of("score", np.repeat([1.0, 2.0, 3.0], np.array([5, 3, 2]) * times))
        assert tail.values.tolist() == [1, 2, 3]
        expected = np.log(times * np.array([10, 5, 2]) / (10 * times + 1))
        np.testing.assert_allclose(log_shares(tail, [1, 2, 3]), expected, rtol=1e-6)


def test_values_that_float32_cannot_tell_apart_are_one():
    close = 1e6 + np.array([0.0, 0.001, 0.002, 1.0])
    tail = Tail.of("score", close)
    assert len(tail.values) == 2 and (np.diff(tail.values) > 0).all()
    np.testing.assert_allclose(
        log_shares(tail, close), np.log(np.array([4, 4, 4, 1]) / 5), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(100, 3.0), "`score` must differ between images; it is the same for all"),
        ([1.0, np.nan, 2.0], "`score` must be finite for all images"),
        ([1.0, -np.inf, 2.0], "`score` must be finite for all images"),
    ],
)
def test_what_has_no_tail_is_refused(values, words):
    with pytest.raises(CalibrationError, match=words):
        Tail.of("score", np.asarray(values))


def test_it_comes_back_as_it_was_kept():
    tail = Tail.of("score", normal_values(300))
    again = Tail.from_arrays("score", tail.to_arrays("score"))
    assert again.scale == tail.scale
    for field in ("values", "log_shares"):
        np.testing.assert_array_equal(getattr(again, field), getattr(tail, field))


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.float32([1, 3, 2])},
        {"values": np.float32([1, 2, np.nan])},
        {"values": np.float32([1, 2])},
        {"values": np.float64([1, 2, 3])},
        {"values": np.float32([[1, 2, 3]])},
        {"log_shares": np.float32([-1, -1, -2])},
        {"log_shares": np.float32([0.5, -1, -2])},
        {"log_shares": np.float32([-1, -2, -np.inf])},
        {"scale": 0.0},
        {"scale": np.nan},
        {"scale": np.inf},
    ],
)
def test_what_is_no_tail_is_not_read(changes):
    good = Tail(np.float32([1, 2, 3]), np.float32([-0.1, -1, -2]), 1.0)
    assert Tail.from_arrays("score", good.to_arrays("score"))
    damaged = dataclasses.replace(good, **changes)
    with pytest.raises(ValueError, match="'score'"):
        Tail.from_arrays("score", damaged.to_arrays("score"))
