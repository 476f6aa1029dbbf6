"""The figures of a study against sums by hand; what its report says of few seeds and half-done runs."""

import csv
import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lcma_tf.config import ConfigError, TrainConfig
from lcma_tf.plots import study as charts
from lcma_tf.study.config import Arm, StudyConfig, run_configs
from lcma_tf.study.markdown import as_markdown
from lcma_tf.study.paired import holm, mean_and_spread, paired_difference
from lcma_tf.study.report import PAPER_TABLE_2, StudyReport

TRAIN = TrainConfig(train_steps=100, pretrain_steps=40)
LCMA, REALNVP, RANDOM = (Arm(rule, 100) for rule in ("lcma", "realnvp", "random"))
LONGER = Arm("realnvp", 140)


def run(bits_per_dim, agreement=(0.5,), **changes):
    metrics = {
        "test_bits_per_dim": bits_per_dim,
        "test_bits_per_dim_standard_error": 0.03,
        "validation_bits_per_dim": bits_per_dim + 0.1,
        "num_parameters": 1234,
        "mask_agreement_with_realnvp": list(agreement),
    }
    return {**metrics, **changes}


def report(results, seeds=(0, 1, 2), **changes):
    """Of arm -> figures by seed; None = not finished."""
    results = {
        arm: {s: run(f) for s, f in zip(seeds, figures, strict=False) if f is not None}
        for arm, figures in results.items()
    }
    return StudyReport(results, TRAIN.train_steps, TRAIN.pretrain_steps, seeds, **changes)


def row(markdown, start, index=0):
    """The cells of the table line that starts with `start`, the first such line or a later one."""
    lines = [line for line in markdown.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in lines[index].strip("|").split("|")]


# The t-test.


def test_three_pairs_by_hand():
    found = paired_difference([4.0, 6.0, 8.0], [3.0, 4.0, 5.0])  # Differences 1, 2, 3.
    t = 2 / (1 / math.sqrt(3))
    # Two degrees of freedom: P(|T| > t) = 1 - t / sqrt(2 + t**2), and 0.95 of it within 4.302653.
    assert (found.n, found.mean) == (3, 2)
    np.testing.assert_allclose(found.p_value, 1 - t / math.sqrt(2 + t**2), rtol=1e-12)
    np.testing.assert_allclose([found.low, found.high], 2 + np.array([-1, 1]) * 2.484138, rtol=1e-6)
    assert found.holds_zero


def test_two_pairs_by_hand():
    found = paired_difference([1.1, 1.2], [1.0, 1.0])  # t = 3 on the Cauchy distribution.
    np.testing.assert_allclose(found.p_value, 1 - 2 / math.pi * math.atan(3), rtol=1e-9)
    assert found.holds_zero


def test_it_is_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(4.0, 0.02, (2, 7))
    found, theirs_found = paired_difference(ours, theirs), stats.ttest_rel(ours, theirs)
    interval = theirs_found.confidence_interval(0.95)
    np.testing.assert_allclose(found.p_value, theirs_found.pvalue)
    np.testing.assert_allclose((found.low, found.high), (interval.low, interval.high))


def test_pairs_see_what_the_spread_of_seeds_hides():
    seeds = np.array([4.1, 4.3, 4.6])
    assert not paired_difference(seeds - [0.010, 0.011, 0.012], seeds).holds_zero
    assert paired_difference(seeds - [0.010, -0.011, 0.012], seeds).holds_zero


def test_few_or_equal_figures():
    none, one = paired_difference([], []), paired_difference([4.5], [4.0])
    assert (none.n, none.mean, none.p_value) == (0, None, None) and none.holds_zero
    assert (one.n, one.mean, one.low, one.p_value) == (1, 0.5, None, None) and one.holds_zero
    same = paired_difference([4.0, 4.5], [4.0, 4.5])
    assert (same.mean, same.p_value, same.holds_zero) == (0.0, 1.0, True)
    with pytest.raises(ValueError, match="`ours` and `theirs` must be of one length; got 1 and 2"):
        paired_difference([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.02], [0.02]),
        ([0.01, 0.02, 0.5], [0.03, 0.04, 0.5]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),  # 3 x 0.01, 2 x 0.03, and never less than before.
        ([0.9, 0.6], [1.0, 1.0]),
    ],
)
def test_holm_by_hand(p_values, corrected):
    np.testing.assert_allclose(holm(p_values), corrected)


def test_mean_and_spread():
    assert mean_and_spread([]) == (None, None)
    assert mean_and_spread([4.0]) == (4.0, None)
    assert mean_and_spread([1.0, 3.0]) == (2.0, math.sqrt(2))


# What is compared.


def test_arms():
    study = StudyConfig(("lcma", "random", "realnvp"), (5,))
    assert study.arms(TRAIN) == (LCMA, RANDOM, REALNVP)
    equal = StudyConfig(study.split_rules, (5,), equal_compute=True)
    assert equal.arms(TRAIN) == (LCMA, RANDOM, REALNVP, Arm("random", 140), LONGER)
    assert [str(arm) for arm in equal.arms(TRAIN)][-2:] == ["random-140", "realnvp-140"]


def test_run_configs_differ_in_rule_seed_and_steps_alone():
    from lcma_tf.config import FlowConfig

    flow, train = run_configs(LONGER, 3, FlowConfig(), TRAIN)
    assert flow == FlowConfig(seed=3)
    assert train == TrainConfig(split_rule="realnvp", train_steps=140, pretrain_steps=40, seed=3)


def test_studies_are_joined_in_order():
    ours = StudyConfig(("realnvp", "lcma"), (1, 0))
    joined = ours.joined(StudyConfig(("random", "lcma"), (0, 7), equal_compute=True))
    assert joined == StudyConfig(("realnvp", "lcma", "random"), (1, 0, 7), True)
    assert StudyConfig.from_dict(json.loads(json.dumps(joined.to_dict()))) == joined


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split_rules": ()}, "`split_rules` must be at least one; got ()."),
        ({"split_rules": ("lmca",)}, "`split_rules` must be of lcma, .*; got 'lmca'."),
        ({"split_rules": ("lcma", "lcma")}, "`split_rules` must be given once each; got"),
        ({"seeds": ()}, "`seeds` must be at least one; got ()."),
        ({"seeds": (1, 1)}, "`seeds` must be given once each; got [1, 1]."),
        ({"seeds": (-1,)}, "`seeds` must be integers from 0 to 1073741824; got -1."),
        ({"seeds": (2**31,)}, "`seeds` must be integers from 0 to"),
        ({"seeds": (0.5,)}, "`seeds` must be integers from 0 to 1073741824; got 0.5."),
    ],
)
def test_senseless_studies_are_refused(changes, message):
    pattern = message.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")
    with pytest.raises(ConfigError, match=pattern):
        StudyConfig(**changes)


def test_each_budget_is_compared_with_its_own_baseline():
    figures = {LCMA: [4.1, 4.2], REALNVP: [4.0, 4.0], RANDOM: [5.0, 5.0], LONGER: [3.9, 3.8]}
    equal_steps, equal_compute = report(figures, (0, 1)).comparisons()
    assert equal_steps.baseline == REALNVP and equal_compute.baseline == LONGER
    means = {arm: d.mean for arm, d in equal_steps.differences.items()}
    assert means == pytest.approx({LCMA: 0.15, RANDOM: 1.0})
    means = {arm: d.mean for arm, d in equal_compute.differences.items()}
    assert means == pytest.approx({LCMA: 0.3})  # 100 + 40 steps; `random` has none of 140.


def test_all_tests_of_a_study_are_corrected_together():
    figures = {LCMA: [4.1, 4.2, 4.4], REALNVP: [4.0, 4.0, 4.1], LONGER: [3.9, 3.8, 3.9]}
    found = report({**figures, RANDOM: [5.0, None, None]})
    differences = [c.differences for c in found.comparisons()]
    tested = [differences[0][LCMA], differences[1][LCMA]]
    assert [d.corrected_p_value for d in tested] == holm([d.p_value for d in tested])
    assert differences[0][RANDOM].corrected_p_value is None  # One pair is no test.


def test_only_seeds_that_both_have_are_paired():
    found = report({LCMA: [4.5, 9.9, None], REALNVP: [4.0, None, 0.1]})
    (comparison,) = found.comparisons()
    assert (comparison.differences[LCMA].n, comparison.differences[LCMA].mean) == (1, 0.5)
    text = as_markdown(found)
    assert "Finished: 4 of 6 runs." in text
    assert [row(text, f"`{rule}`")[2] for rule in ("lcma", "realnvp")] == ["0, 1", "0, 2"]
    assert "| `lcma` | +0.5000 | - | - | - | 1 | not tested" in text


# The files.


def test_markdown():
    found = report({LCMA: [4.2, 4.3, 4.4], REALNVP: [4.19, 4.291, 4.389], LONGER: [4.1, 4.4, 4.1]})
    text = as_markdown(found)
    results, at_equal_steps, at_equal_compute = (row(text, "`lcma`", index) for index in range(3))
    assert results == ["`lcma`", "4.3000 ± 0.1000", "0, 1, 2", "100", "40", "140", "50.0%", "2.71"]
    assert at_equal_steps[1] == "+0.0100"
    assert at_equal_steps[3:] == ["0.003", "0.007", "3", "worse"]
    assert at_equal_compute[1] == "+0.1000" and at_equal_compute[-2:] == ["3", "not told apart"]
    assert "Parameters: 1,234, in every finished run (checked)." in text
    assert "**Few seeds**: with 3 pairs the test rests on 2 degrees of freedom" in text
    assert "holds zero" in text and "Holm's correction for all 2" in text
    assert "(0, 1, 2): `realnvp`, `lcma`; in the paper's table `lcma`, `realnvp`" in text
    assert "](ablation.png)" in text and "](samples.png)" in text


def test_the_paper_s_numbers_are_the_paper_s_alone():
    assert PAPER_TABLE_2 == {"random": 3.05, "lcma_reversed": 3.10, "realnvp": 3.02, "lcma": 2.71}
    text = as_markdown(report({REALNVP: [4.0], LONGER: [4.0]}, (0,)))
    heads = row(text, "split rule")
    cells = [line.split("|")[-2].strip() for line in text.splitlines() if "`realnvp` |" in line]
    assert "not ours" in heads[-1] and cells[:2] == ["3.02", ""]


def test_a_better_rule_is_called_better():
    text = as_markdown(report({LCMA: [4.0, 4.1, 4.2], REALNVP: [4.1, 4.201, 4.299]}))
    assert text.count("| better |") == 1 and "holds zero" not in text


def test_a_difference_that_the_correction_takes_back_is_told_as_such():
    figures = {LCMA: [4.0, 4.1, 4.2], REALNVP: [4.02, 4.124, 4.229], RANDOM: [5.0, 4.0, 4.3]}
    text = as_markdown(report(figures))
    (_, _, _, p, corrected, _, verdict) = row(text, "`lcma`", 1)
    assert (p, corrected, verdict) == ("0.011", "0.023", "better")
    figures[LCMA] = [4.0, 4.11, 4.2]
    (_, _, _, p, corrected, _, verdict) = row(as_markdown(report(figures)), "`lcma`", 1)
    assert float(p) < 0.05 < float(corrected) and verdict == "better, were it the only comparison"


def test_the_order_is_that_of_seeds_that_all_have():
    # Seed 1 is harder for all: over what each has, `lcma` would come first.
    text = as_markdown(report({LCMA: [4.1, None], REALNVP: [4.0, 5.0], RANDOM: [None, None]}))
    assert "over the seed that all of these have finished (0): `realnvp`, `lcma`;" in text
    assert "best first" not in as_markdown(report({LCMA: [4.1, None], REALNVP: [None, 5.0]}))


def test_one_seed_is_no_test():
    text = as_markdown(report({LCMA: [4.0], REALNVP: [4.1]}, (0,)))
    assert "| -0.1000 | - | - | - | 1 | not tested: that takes two seeds |" in text
    assert "Nothing is tested: one pair" in text and "±" not in row(text, "`realnvp`")[1]
    assert "Few seeds" not in text and "t-test" not in text


def test_the_warning_is_for_the_weakest_test():
    text = as_markdown(report({LCMA: [4.0, 4.1, 4.3], RANDOM: [4.5, 4.7], REALNVP: [4, 4.1, 4.2]}))
    assert "with 2 pairs the test rests on 1 degree of freedom" in text
    text = as_markdown(report({LCMA: [4.0, 4.1, 4.3], RANDOM: [4.5], REALNVP: [4, 4.1, 4.2]}))
    assert "with 3 pairs the test rests on 2 degrees of freedom" in text and "Holm" not in text


def test_many_seeds_need_no_warning():
    seeds = tuple(range(8))
    figures = np.linspace(4.0, 4.1, 8)
    text = as_markdown(report({LCMA: figures, REALNVP: figures + 0.1}, seeds))
    assert "Few seeds" not in text


def test_without_the_static_rule_nothing_is_compared():
    found = report({LCMA: [4.0, 4.1], RANDOM: [4.2, 4.3]}, (0, 1))
    assert found.comparisons() == [] and "that takes `realnvp`" in as_markdown(found)


def test_a_study_without_a_finished_run():
    text = as_markdown(report({LCMA: [], REALNVP: []}))
    assert "Finished: 0 of 6 runs." in text
    assert "checked" not in text and ".png" not in text
    assert row(text, "`realnvp`")[1:3] == ["-", "-"]


def test_unequal_parameters_are_told():
    found = report({LCMA: [4.0], REALNVP: [4.0]}, (0,))
    found.results[LCMA][0]["num_parameters"] = 999
    assert "**Not comparable**: the runs have 999, 1,234 parameters." in as_markdown(found)


def test_failed_runs_are_told():
    found = report({LCMA: [None], REALNVP: [4.0]}, (0,), failures={"seed_0/lcma-100": "It burst."})
    text = as_markdown(found)
    assert "Ended without a result: seed_0/lcma-100. It burst." in text and "flatter a rule" in text


def test_csv_has_a_line_a_run():
    found = report({LCMA: [4.2, None], REALNVP: [4.1, 4.0]}, (0, 1))
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [r["run"] for r in rows] == [
        "seed_0/lcma-100",
        "seed_0/realnvp-100",
        "seed_1/realnvp-100",
    ]
    first = rows[0]
    assert (first["split_rule"], first["seed"], first["total_steps"]) == ("lcma", "0", "140")
    assert float(first["test_bits_per_dim"]) == 4.2
    assert float(first["mask_1_agreement_with_realnvp"]) == 0.5


def test_json_is_strict_and_complete():
    found = report({LCMA: [4.2], REALNVP: [4.0]}, (0,), commands=("c",), versions={"x": "1"})
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["arms"][0]["mean"] == 4.2 and values["arms"][0]["standard_deviation"] is None
    assert values["comparisons"][0]["differences"]["lcma-100"]["p_value"] is None
    assert [entry["run"] for entry in values["runs"]] == ["seed_0/lcma-100", "seed_0/realnvp-100"]
    assert (values["commands"], values["versions"]) == (["c"], {"x": "1"})


# The pictures.


@pytest.fixture
def figures(monkeypatch):
    """The figures that were saved, and still are."""
    saved = []
    save = charts.save_figure

    def keep(figure, path):
        saved.append(figure)
        save(figure, path)

    monkeypatch.setattr(charts, "save_figure", keep)
    return saved


def curve(last, num=4):
    step = np.arange(1, num + 1) * 10
    return {"step": step, "val_bits_per_dim": last + np.exp(-step / 10)}


def test_every_seed_is_a_point_and_every_arm_a_mean(tmp_path, figures):
    by_arm = {"a": {0: 4.0, 7: 4.2}, "b": {0: 4.5}, "none": {}}
    curves = {"a": [curve(4.0), curve(4.2)], "b": [curve(4.5, 6)], "none": []}
    path = tmp_path / "ablation.png"
    charts.save_ablation(path, by_arm, curves, {"a": "a", "b": "b", "none": "b"})
    left, right = figures[0].axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert drawn["seed 0"] == [[4.0, 0.0], [4.5, 1.0]] and drawn["seed 7"] == [[4.2, 0.0]]
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in left.texts] == ["4.100", "4.500"]
    a, b = right.lines
    np.testing.assert_allclose(a.get_ydata(), curve(4.1)["val_bits_per_dim"])
    assert len(b.get_xdata()) == 6 and len(right.collections) == 1  # One band: `b` has one seed.
    with Image.open(path) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300


def test_the_curves_fill_the_panel_though_they_begin_far_above(tmp_path, figures):
    step = np.arange(1, 11) * 10
    values = np.where(step <= 10, 60.0, 4.0 + step / 1000)
    curves = {"a": [{"step": step, "val_bits_per_dim": values}]}
    charts.save_ablation(tmp_path / "x", {"a": {0: 4.0}}, curves, {"a": "a"})
    assert figures[0].axes[1].get_ylim()[1] < 5


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_sample_grids(tmp_path, figures, shape):
    images = np.random.default_rng(0).integers(0, 256, (5, 12, *shape), np.uint8)
    grids = {f"rule {index}": grid for index, grid in enumerate(images)}
    charts.save_sample_grids(tmp_path / "samples.png", grids, "All of them")
    panels = [axes for axes in figures[0].axes if axes.images]
    assert [axes.get_title() for axes in panels] == list(grids)
    height, width, _ = shape
    sheet = np.asarray(panels[1].images[0].get_array())
    assert sheet.shape == (2 * (height + 1), 6 * (width + 1), 3)
    top, left = height + 1, 4 * (width + 1)  # The eleventh image: second row, fifth column.
    found = sheet[top : top + height, left : left + width]
    np.testing.assert_array_equal(found, np.broadcast_to(images[1, 10], (height, width, 3)))


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({}, "`samples` must hold at least one grid"),
        ({"a": np.zeros((6, 4, 4, 2), np.uint8)}, "uint8 .* got uint8 .6, 4, 4, 2."),
        ({"a": np.zeros((6, 4, 4, 3))}, "uint8 .* got float64"),
        ({"a": np.zeros((5, 4, 4, 3), np.uint8)}, "must be a multiple of 6 images; got 5"),
    ],
)
def test_bad_samples_are_refused(tmp_path, samples, words):
    with pytest.raises(ValueError, match=words):
        charts.save_sample_grids(tmp_path / "x", samples, "title")
    assert not (tmp_path / "x").exists()


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`figures` must hold at least one finished run"):
        charts.save_ablation(tmp_path / "x", {"a": {}}, {}, {"a": "a"})
