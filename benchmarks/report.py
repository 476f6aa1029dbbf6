"""Medians over rounds, ratios to the PyTorch peer, shares of the bound, and the Markdown table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.contenders import CONTENDERS, PEER
from benchmarks.rounds import Outcome

__all__ = ["markdown", "medians", "summarize"]

BOUND = "bare"


def medians(outcome: Outcome) -> dict[str, float]:
    """Of every number, over the undisturbed rounds, or over all if none is."""
    quiet = [r for r, bad in zip(outcome.rounds, outcome.disturbed, strict=True) if not bad]
    rounds = quiet or outcome.rounds
    found: dict[str, float] = {}
    for key in rounds[0] if rounds else ():
        values = [r[key] for r in rounds if isinstance(r.get(key), int | float)]
        if values:
            found[key] = statistics.median(values)
    return found


def summarize(outcomes: Sequence[Outcome]) -> list[dict]:
    """A row for each outcome, ready for JSON: medians, ratios to the peer, shares of the bound."""
    by_job = {(o.job.comparison, o.job.contender): medians(o) for o in outcomes}
    rows = []
    for outcome in outcomes:
        job = outcome.job
        own = by_job[job.comparison, job.contender]
        peer = by_job.get((job.comparison, PEER), {})
        bound_name = BOUND + ("_bfloat16" if job.contender.endswith("_bfloat16") else "")
        bound = by_job.get((job.comparison, bound_name), {})
        rows.append(
            {
                "contender": job.contender,
                "measure": job.measure,
                "batch_sizes": list(job.batch_sizes),
                "point": job.point,
                "config": dataclasses.asdict(job.config),
                "same_architecture": CONTENDERS[job.contender].same_architecture,
                "median": own,
                "ratio_to_torch": _ratios(own, peer),
                # Throughput relative to the convolutions alone; time the other way round.
                "share_of_bound": {
                    key: bound[key] / value
                    for key, value in own.items()
                    if key.endswith("_s")
                    and _is_time(key)
                    and key in bound
                    and value
                    and CONTENDERS[job.contender].same_architecture
                },
                "rounds": outcome.rounds,
                "disturbed": outcome.disturbed,
                "error": outcome.error,
            }
        )
    return rows


def _ratios(own: Mapping[str, float], peer: Mapping[str, float]) -> dict[str, float]:
    return {
        key: value / peer[key]
        for key, value in own.items()
        if peer.get(key) and not key.endswith(("_others", "_repeats", "_loss"))
    }


def _is_time(key: str) -> bool:
    return not key.endswith(("_per_s", "_cpu_s")) and key not in ("first_step_s", "import_s")


# Column: (key, title, digits, whether it is compared with the peer).
START = [
    ("import_s", "import s", 2, False),
    ("first_step_s", "first step s", 1, True),
    ("training_ops", "graph ops", 0, False),
]
SIZE = [("num_parameters", "parameters", 0, False), ("conv_gflops", "conv GFLOP/image", 2, False)]
# The parts of a run that `lcma_tf.stopwatch` tells apart, and the start of the process.
PHASES = [
    ("outside_steps_s", "all but steps s", 1, False),
    *(
        (f"{part.replace(' ', '_')}_s", part, 1, False)
        for part in (
            *("steps", "start", "first step", "validation", "statistics", "contributions"),
            *("evaluation", "calibration", "pictures", "decision", "other"),
        )
    ),
]
MEMORY = [("peak_memory_mib", "peak MiB", 0, True)]


def _columns(measure: str, batch_sizes: Sequence[int]):
    if measure == "start":
        return [*START, *MEMORY, *SIZE]
    if measure == "train":
        times = [("step_s", "step s", 3, True), ("step_cpu_s", "step CPU s", 3, True)]
        return [("first_step_s", "first step s", 1, True), *times, *MEMORY, *SIZE]
    if measure == "phases":
        return [*PHASES, *MEMORY]
    if measure == "pipeline":
        return [("pipeline_images_per_s", "images/s", 0, False)]
    what = "log_prob" if measure == "score" else "sample"
    per_batch = [
        (f"{what}_{n}_images_per_s", f"{what} images/s at {n}", 2, True) for n in batch_sizes
    ]
    return [*per_batch, *MEMORY, *SIZE]


def markdown(title: str, rows: Sequence[dict]) -> str:
    """One table for each measure of a suite; in parentheses the ratio to PyTorch eager."""
    parts = [f"## {title}", *([_flows(rows)] if rows else [])]
    for measure in dict.fromkeys(row["measure"] for row in rows):
        some = [row for row in rows if row["measure"] == measure]
        parts.append(_table(some, _columns(measure, some[0]["batch_sizes"])))
    return "\n\n".join(parts) + "\n"


def _flows(rows: Sequence[dict]) -> str:
    """The flow that is measured; of what differs between rows, all values."""
    configs = [row["config"] for row in rows]
    side, scales, filters, blocks = (
        ", ".join(map(str, sorted({config[name] for config in configs})))
        for name in ("image_size", "num_scales", "base_dim", "num_residual_blocks")
    )
    return f"RealNVP: {side} pixels a side, {scales} scales, {filters} filters, {blocks} blocks."


def _table(rows, columns) -> str:
    bounds = {
        "step_s": "share of bound",
        **{
            f"log_prob_{n}_s": f"share of bound at {n}"
            for n in rows[0]["batch_sizes"]
            if rows[0]["measure"] == "score"
        },
    }
    bounds = {key: t for key, t in bounds.items() if any(key in r["share_of_bound"] for r in rows)}
    has_points = any(row["point"] for row in rows)
    head = ["contender", *(["at"] if has_points else []), *(title for _, title, _, _ in columns)]
    lines = [[*head, *bounds.values(), "others", "note"]]
    for row in rows:
        cells = [row["contender"], *([row["point"]] if has_points else [])]
        for key, _, digits, compared in columns:
            cells.append(_cell(row, key, digits, compared))
        cells += [
            f"{row['share_of_bound'][key]:.0%}" if key in row["share_of_bound"] else ""
            for key in bounds
        ]
        lines.append([*cells, _others(row), _note(row)])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(row, key, digits, compared) -> str:
    if key not in row["median"]:
        return ""
    text = f"{row['median'][key]:,.{digits}f}"
    if compared and key in row["ratio_to_torch"] and row["contender"] != PEER:
        text += f" ({row['ratio_to_torch'][key]:.2f})"
    return text


def _others(row) -> str:
    windows = [v for k, v in row["median"].items() if k.endswith("_others")]
    if not windows and "others_during" in row["median"]:
        windows = [row["median"]["others_during"]]
    return f"{max(windows):.0%}" if windows else ""


def _note(row) -> str:
    if row["error"]:
        return row["error"].replace("|", "/")
    num_disturbed = sum(row["disturbed"])
    return f"{num_disturbed} of {len(row['disturbed'])} rounds disturbed" if num_disturbed else ""
