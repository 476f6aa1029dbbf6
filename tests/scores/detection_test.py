"""How well a score tells two sets: known answers, counted ones, and what an interval holds."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from lcma_tf import CalibrationError
from lcma_tf.extras import MissingExtraError
from lcma_tf.scores import detection as figures
from lcma_tf.scores.detection import detection, distance_by_chance, distance_from_uniform


def of(normal, unusual, **options):
    found = detection(np.asarray(normal, float), np.asarray(unusual, float), **options)
    assert list(found) == list(figures.FIGURES)
    return found


def values(found):
    return [interval.value for interval in found.values()]


def test_two_sets_that_do_not_overlap():
    found = of(np.arange(50), np.arange(50) + 100)
    assert values(found) == [1, 1, 0]
    assert [(interval.low, interval.high) for interval in found.values()] == [
        (1, 1),
        (1, 1),
        (0, 0),
    ]
    assert of(np.arange(50) + 100, np.arange(50))["auroc"].value == 0


def test_two_sets_that_are_the_same():
    found = of(np.arange(400), np.arange(400))
    assert values(found) == pytest.approx([0.5, 0.5, 0.95], abs=5e-3)
    assert all(interval.low < interval.value < interval.high for interval in found.values())
    assert values(of(np.zeros(30), np.zeros(10))) == [
        0.5,
        0.25,
        1.0,
    ]  # Of a score that says nothing.


def test_a_case_that_is_counted_by_hand():
    found = of([1, 2, 3, 4], [3, 5])
    # Of 8 pairs 6 are in order and one is a tie; recall 1/2 comes at precision 1, recall 1 at 2/4; both
    # unusual ones are at 3 or above, and so are two of four.
    assert values(found) == [6.5 / 8, (1 + 2 / 4) / 2, 0.5]
    # 19 of 20 are enough, 18 are not.
    found = of([0, 10, 11, 12], [*range(20)])
    assert found["false_alarms_at_95"].value == 0.75


@pytest.mark.parametrize("decimals", [1, 12])
def test_resamples_are_counted_as_scikit_learn_counts(decimals):
    """Of the counts that are one an image, and of some drawn again: with many ties, and with none."""
    rng = np.random.default_rng(0)
    both = np.round(np.concatenate([rng.normal(size=70), rng.normal(size=40) + 1]), decimals)
    ranks = figures._ranks(both)
    for draw in range(3):
        chosen = np.arange(110)
        if draw:
            chosen = np.concatenate([rng.integers(0, 70, 70), rng.integers(70, 110, 40)])
        counts = figures._as_counts(ranks[chosen], 70)
        size = ranks.max() + 1
        counts = [np.pad(c, ((0, 0), (0, size - c.shape[1]))) for c in counts]
        is_unusual = np.arange(110) >= 70
        found = [figure(*counts)[0] for figure in figures._OF_COUNTS.values()]
        recall, alarms = metrics.roc_curve(is_unusual, both[chosen], drop_intermediate=False)[1::-1]
        assert found == pytest.approx(
            [
                metrics.roc_auc_score(is_unusual, both[chosen]),
                metrics.average_precision_score(is_unusual, both[chosen]),
                alarms[np.argmax(recall >= 0.95)],
            ],
            rel=1e-12,
        )


def test_an_interval_holds_the_known_figure_as_often_as_it_says():
    """Two normal distributions a standard deviation apart: AUROC = Phi(1 / sqrt 2)."""
    known, rng = stats.norm.cdf(1 / np.sqrt(2)), np.random.default_rng(7)
    held = 0
    for seed in range(120):
        normal, unusual = rng.normal(size=150), rng.normal(size=150) + 1
        auroc = of(normal, unusual, seed=seed, num_resamples=200)["auroc"]
        held += auroc.low <= known <= auroc.high
    assert 105 <= held <= 119  # Percentiles of so few images hold it in 93 of 100 cases, not in 95.


def test_the_interval_of_a_bad_average_precision_holds_it():
    """Of unusual images behind all others, which as ties among resamples look better than they are."""
    found = of(np.arange(100.0), np.arange(20.0) - 50)["average_precision"]
    assert found.low < found.value < found.high


def test_only_the_order_counts_and_the_seed_decides():
    rng = np.random.default_rng(0)
    normal, unusual = rng.normal(size=60), rng.normal(size=50) + 1
    found = of(normal, unusual)
    assert found == of(normal, unusual) == of(np.exp(normal), np.exp(unusual))
    assert found != of(normal, unusual, seed=1)
    assert values(found) == values(of(normal, unusual, seed=1))


def test_the_number_of_rows_at_a_time_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    normal, unusual = rng.normal(size=60), rng.normal(size=50) + 1
    found = of(normal, unusual, num_resamples=50)
    monkeypatch.setattr(figures, "_AT_ONCE", 7 * 110)
    assert of(normal, unusual, num_resamples=50) == found


def test_what_is_infinite_or_no_number_is_most_unusual():
    assert values(of([1, 2, -np.inf], [3, np.inf, np.nan])) == [1, 1, 0]
    assert of([1, np.nan], [np.inf])["auroc"].value == 0.75


@pytest.mark.parametrize(("normal", "unusual"), [([], [1.0]), ([1.0], []), ([[1.0]], [1.0])])
def test_no_images_are_refused(normal, unusual):
    with pytest.raises(CalibrationError, match="must hold the scores .* of at least one image"):
        of(normal, unusual)


def test_without_scikit_learn_the_way_out_is_said(monkeypatch):
    monkeypatch.setitem(figures.__dict__, "require_extra", refuse)
    with pytest.raises(MissingExtraError, match="sklearn data scikit-learn"):
        of([1], [2])


def refuse(module, extra, purpose, package):
    raise MissingExtraError(f"{module} {extra} {package}")


@pytest.mark.parametrize("count", [1, 7, 500])
def test_the_distance_from_uniform_is_that_of_scipy(count):
    shares = np.random.default_rng(count).beta(2, 1, count)
    expected = stats.kstest(shares, "uniform").statistic
    assert distance_from_uniform(shares) == pytest.approx(expected, rel=1e-12)


def test_the_distance_by_chance_is_exceeded_once_in_twenty():
    rng = np.random.default_rng(0)
    bound = distance_by_chance(300, 500)
    exceeded = [
        stats.ks_2samp(rng.random(300), rng.random(500)).statistic > bound for _ in range(400)
    ]
    assert 0.02 < np.mean(exceeded) < 0.08
