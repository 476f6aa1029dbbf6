"""A study's report as Markdown: the tables, and in words what they do and do not say."""

from __future__ import annotations

from typing import Any

from lcma_tf.study.paired import CONFIDENCE, PairedDifference
from lcma_tf.study.report import BASELINE, PAPER_TABLE_2, Comparison, StudyReport

__all__ = ["as_markdown"]

_FEW_SEEDS = 6  # Below this the test is too weak to go without a warning.


def as_markdown(report: StudyReport) -> str:
    """The whole report; also of a study that is half done."""
    num_runs, num_finished = len(report.results) * len(report.seeds), len(report.runs())
    comparisons = report.comparisons()
    lines = ["# Ablation of the split rule", ""]
    lines += [f"- {line}" for line in report.about]
    lines += [f"- {_parameters(report)}"] if num_finished else []
    lines += [f"- Finished: {num_finished} of {num_runs} runs."]
    lines += [f"- Ended without a result: {run}. {why}" for run, why in report.failures.items()]
    lines += ["", "## Results", "", *_results(report), "", *_notes(report), *_pictures(report)]
    lines += [f"## Difference to `{BASELINE}`, paired over seeds", ""]
    for comparison in comparisons:
        lines += [f"### {comparison.title}", "", *_differences(comparison), ""]
    lines += _caveats(comparisons)
    lines += ["## How", "", "```bash", *report.commands, "```", ""]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return "\n".join([*lines, f"Written with {versions}."]) + "\n"


def _parameters(report: StudyReport) -> str:
    counts = [f"{count:,}" for count in report.num_parameters()]
    if len(counts) > 1:
        return f"**Not comparable**: the runs have {', '.join(counts)} parameters."
    return f"Parameters: {counts[0]}, in every finished run (checked)."


def _results(report: StudyReport) -> list[str]:
    rows = []
    for arm in report.results:
        mean, spread = report.summary(arm)
        shares = ", ".join(f"{share:.1%}" for share in report.agreement(arm))
        paper = PAPER_TABLE_2.get(arm.rule) if arm.steps == report.train_steps else None
        rows.append(
            [
                f"`{arm.rule}`",
                _or_dash(mean, "{:.4f}") + ("" if spread is None else f" ± {spread:.4f}"),
                ", ".join(map(str, report.figures(arm))) or "-",
                f"{arm.steps:,}",
                f"{report.pretrain_steps * arm.pretrains:,}",
                f"{report.total_steps(arm):,}",
                shares or "-",
                "" if paper is None else f"{paper:.2f}",
            ]
        )
    heads = ["split rule", "test bits/dim, mean ± standard deviation over seeds", "finished seeds"]
    heads += ["training steps", "pretraining steps", "steps in all"]
    heads += [f"masks' agreement with `{BASELINE}`, scale by scale"]
    return _table([*heads, "the paper's Table 2 (CelebA 64x64, full size; not ours)"], rows)


def _notes(report: StudyReport) -> list[str]:
    """What the table does not say by itself, each paragraph followed by an empty line."""
    paragraphs = [
        "Masks that have nothing to do with each other agree on 50%. From the second scale on they "
        "choose among what each rule's own masks let through before.",
        _order(report),
    ]
    if report.failures:
        paragraphs.append(
            "Runs that ended without a result are in no mean and in no pair: they flatter a rule that "
            "has lost some."
        )
    return _spaced(paragraphs)


def _order(report: StudyReport) -> str:
    """The rules by their means over the same seeds, here and in the paper."""
    arms = [arm for arm in report.results if arm.steps == report.train_steps]
    figures = {arm.rule: found for arm in arms if (found := report.figures(arm))}
    common = [seed for seed in report.seeds if all(seed in by for by in figures.values())]
    if len(figures) < 2 or not common:
        return ""
    means = {rule: sum(by[seed] for seed in common) for rule, by in figures.items()}
    here = sorted(means, key=means.__getitem__)
    paper = sorted(means.keys() & PAPER_TABLE_2.keys(), key=PAPER_TABLE_2.__getitem__)
    here, paper = (", ".join(f"`{rule}`" for rule in order) for order in (here, paper))
    seeds = "seeds" if len(common) > 1 else "seed"
    return (
        f"At {report.train_steps:,} training steps, best first, over the {seeds} that all of these "
        f"have finished ({', '.join(map(str, common))}): {here}; in the paper's table {paper}. "
        "Whether the differences here are more than chance is said below."
    )


def _pictures(report: StudyReport) -> list[str]:
    """Links to the files that `study_outputs` writes beside the report."""
    found = []
    if report.runs():
        found.append("![Test bits/dim by rule and seed; validation bits/dim by step](ablation.png)")
    if any(report.seeds[0] in by_seed for by_seed in report.results.values()):
        found.append("![Samples of every rule](samples.png)")
    return _spaced(found)


def _differences(comparison: Comparison) -> list[str]:
    rows = []
    for arm, difference in comparison.differences.items():
        low, high = (_or_dash(end, "{:+.4f}") for end in (difference.low, difference.high))
        rows.append(
            [
                f"`{arm.rule}`",
                _or_dash(difference.mean, "{:+.4f}"),
                "-" if difference.low is None else f"{low} to {high}",
                _p_value(difference.p_value),
                _p_value(difference.corrected_p_value),
                difference.n,
                _verdict(difference),
            ]
        )
    heads = [f"split rule against `{comparison.baseline}`", "difference, bits/dim"]
    heads += [f"{CONFIDENCE:.0%} interval", "p", "p, corrected", "pairs", "so it is"]
    return _table(heads, rows)


def _p_value(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else _or_dash(value, "{:.3f}")


def _verdict(difference: PairedDifference) -> str:
    if difference.n < 2 or difference.mean is None:
        return "not tested: that takes two seeds"
    if difference.holds_zero:
        return "not told apart"
    side = "better" if difference.mean < 0 else "worse"
    corrected = difference.corrected_p_value
    is_one_of_many = corrected is not None and corrected > 1 - CONFIDENCE
    return f"{side}, were it the only comparison" if is_one_of_many else side


def _caveats(comparisons: list[Comparison]) -> list[str]:
    """What a reader must know of the tests above, each paragraph followed by an empty line."""
    differences = [d for comparison in comparisons for d in comparison.differences.values()]
    if not differences:
        return _spaced([f"None: that takes `{BASELINE}` and another rule of the same budget."])
    tests = [difference for difference in differences if difference.n >= 2]
    if not tests:
        return _spaced(
            ["Nothing is tested: one pair has no spread to hold its difference against."]
        )
    paragraphs = [
        "Lower is better. A seed fixes initial weights, order of the data and noise for all rules "
        "alike, so the two-sided t-test is that of the differences within seeds. It speaks of other "
        "seeds on this data set at this budget, of nothing else.",
        _few_seeds(min(difference.n for difference in tests)),
    ]
    if any(difference.holds_zero for difference in tests):
        paragraphs.append(
            "'Not told apart' means that the interval holds zero: no evidence of a difference, and "
            "no proof that there is none; differences as large as its ends remain possible."
        )
    if len(tests) > 1:
        paragraphs.append(
            f"Intervals and p are those of one comparison; 'p, corrected' is p after Holm's correction "
            f"for all {len(tests)}, and 'better' or 'worse' without a condition means that it is at "
            f"most {1 - CONFIDENCE:.2f}."
        )
    return _spaced(paragraphs)


def _few_seeds(num_pairs: int) -> str:
    if num_pairs >= _FEW_SEEDS:
        return ""
    return (
        f"**Few seeds**: with {num_pairs} pairs the test rests on {num_pairs - 1} degree"
        f"{'' if num_pairs == 2 else 's'} of freedom and on differences that are normal, which so "
        "few cannot show. Only differences far above their own spread can be told from none."
    )


def _spaced(paragraphs: list[str]) -> list[str]:
    """Those that are not empty, each followed by an empty line."""
    return [line for paragraph in filter(None, paragraphs) for line in (paragraph, "")]


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]
