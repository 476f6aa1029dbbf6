"""Related images: left out together, and what is to be expected of few groups of them."""

import numpy as np
import pytest

import lcma_tf
from lcma_tf import CalibrationError
from lcma_tf.scores.related import expected_false_alarms, folds, group_numbers


@pytest.fixture(scope="module")
def of_groups():
    """Values of images of which those of one group are much alike: a function of groups and a seed."""

    def draw(num_groups, seed, size=30):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(num_groups), size)
        order = rng.permutation(len(groups))
        values = rng.normal(size=num_groups)[groups] + 0.3 * rng.normal(size=len(groups))
        return values[order], groups[order]

    return draw


def test_every_image_is_left_out_once_and_a_group_as_a_whole(of_groups):
    groups = of_groups(23, seed=0)[1]
    parts = folds(len(groups), groups)
    assert len(parts) == 10
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
    of_part = [set(groups[part]) for part in parts]
    assert sum(map(len, of_part)) == 23 == len(set.union(*of_part))


def test_without_groups_neighbours_are_left_out():
    parts = folds(101, None)
    assert len(parts) == 5
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(101))


def test_groups_are_whatever_they_are_called():
    names = np.array([f"photo {n % 10}" for n in range(40)])
    numbers = group_numbers(names, 40)
    np.testing.assert_array_equal(numbers, np.arange(40) % 10)
    np.testing.assert_array_equal(group_numbers(np.arange(40) % 10 * 7 - 3, 40), numbers)


@pytest.mark.parametrize(("num_groups", "size"), [(15, 30), (60, 30), (1_000, 6)])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_most_other_draws_bring_as_many_false_alarms_as_expected(of_groups, num_groups, size, rate):
    """Nineteen in twenty; of few groups the bootstrap, which knows these alone, is too sure."""
    inside, widths = [], []
    for seed in range(60):
        values, groups = of_groups(num_groups, seed, size)
        low, high = expected_false_alarms(values, groups, rate, seed)
        threshold = np.sort(values)[::-1][int(rate * (len(values) + 1))]
        share = np.mean(of_groups(num_groups, 1_000 + seed, size)[0] > threshold)
        inside.append(low <= share <= high)
        widths.append(high - low)
    assert np.mean(inside) > 0.8
    # A range that holds all would be no answer.
    assert np.mean(widths) < 12 * np.sqrt(rate / num_groups)


def test_related_images_widen_the_range(of_groups):
    values, groups = of_groups(40, seed=0)
    low, high = expected_false_alarms(values, None, 0.05)
    wider = expected_false_alarms(values, groups, 0.05)
    assert wider[0] < low < 0.05 < high < wider[1]
    # Independent images: the error of a share, of the threshold and of the images beyond it.
    assert (high - low) / 3.92 == pytest.approx(np.sqrt(2 * 0.05 * 0.95 / len(values)), rel=0.3)
    assert expected_false_alarms(values, groups, 0.05) == wider


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (np.arange(99), r"integers or strings of shape \[100\].*; got int64 \[99\]"),
        (np.zeros((100, 1), int), r"; got int64 \[100, 1\]"),
        (np.arange(100) / 2, r"integers or strings .*; got float64 \[100\]"),
        (np.arange(100) % 9, "at least 10 different ones; got 9"),
        (np.array(["one"] * 100), "at least 10 different ones; got 1"),
    ],
)
def test_groups_are_refused_before_images_are_measured(model, draw, monkeypatch, groups, words):
    monkeypatch.setattr("lcma_tf.scores.calibrate.Measures", None)
    with pytest.raises(CalibrationError, match=f"`groups` must be .*{words}"):
        lcma_tf.calibrate(model, draw(100), groups=groups, verbose=False)


def test_copies_of_images_judge_each_other_unless_they_are_a_group(model, draw, capsys):
    """Of four copies each, three are known when the fourth is judged: all seem usual."""
    images = np.repeat(draw(150), 4, axis=0)
    groups = np.repeat(np.arange(150), 4)
    order = np.random.default_rng(0).permutation(600)
    images, groups = images[order], groups[order]
    options = {"false_alarm_rate": 0.05}
    alone = lcma_tf.calibrate(model, images, **options, verbose=False)
    together = lcma_tf.calibrate(model, images, groups=groups, **options)
    said = capsys.readouterr().out
    assert "[lcma_tf] false alarms: 5.00% asked for, " in said and "% expected\n" in said
    others = draw(3_000, seed=1)
    alarms = [
        np.mean(lcma_tf.ScoredFlow(model, known).scores(others)["is_anomaly"].numpy())
        for known in (alone, together)
    ]
    assert alarms[1] < alarms[0]
    assert alarms[1] == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 150))
