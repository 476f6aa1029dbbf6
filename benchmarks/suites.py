"""What each suite measures: a list of jobs, all contenders of a comparison one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from benchmarks.architecture import BenchmarkConfig
from benchmarks.contenders import CONTENDERS

__all__ = ["SUITES", "Job", "jobs_of"]

SCORED = (1, 8, 64)


@dataclasses.dataclass(frozen=True)
class Job:
    """One process: one contender, one measure.

    Args:
        point: where on a curve, `depth=4`; empty where there is no curve.
    """

    contender: str
    measure: str
    batch_sizes: tuple[int, ...]
    config: BenchmarkConfig
    point: str = ""

    @property
    def comparison(self) -> tuple:
        """Equal for jobs whose results may be divided by each other."""
        return self.measure, self.batch_sizes, self.config, self.point


REALNVPS = ("lcma", "torch", "torch_compile")
NARROW = ("lcma_bfloat16", "torch_bfloat16")
XLA = ("lcma_jit", "lcma_jit_bfloat16")
GLOWS = ("lcma_glow", "normflows_glow", "tfp_glow")
BARE = ("bare", "bare_bfloat16")
# Suite: measures and who takes part.
PLAIN = {
    "start": ("start", (*REALNVPS, *GLOWS)),
    "train": ("train", (*REALNVPS, *NARROW, *XLA, *GLOWS, *BARE)),
    "score": ("score", (*REALNVPS, "torch_folded", *NARROW, *GLOWS, *BARE)),
    "sample": ("sample", (*REALNVPS, "torch_folded", *NARROW, *GLOWS)),
    "pipeline": ("pipeline", ("lcma",)),
    "serve": ("score", ("lcma", "lcma_export", "lcma_batch_invariant")),
}
# Where users begin: a flow of about the quickstart's size, and the quickstart's own, whole runs of it.
SMALL = {"num_scales": 2, "base_dim": 16, "num_residual_blocks": 2}
QUICKSTART = {"num_scales": 3, "base_dim": 16, "num_residual_blocks": 1}
# Suite: what is varied, over which values.
CURVES = {
    "depth": ("num_residual_blocks", (2, 4, 8)),
    "width": ("base_dim", (16, 32, 64)),
    "size": ("image_size", (16, 32, 64)),
}
SMOKE_CURVES = {"depth": (1, 2), "width": (2, 4), "size": (8, 16)}
SUITES = (*PLAIN, "small", "phases", "memory", *CURVES)


def jobs_of(
    suite: str,
    config: BenchmarkConfig,
    batch_size: int,
    contenders: Sequence[str] = tuple(CONTENDERS),
    smoke: bool = False,
) -> list[Job]:
    """The jobs of one round of `suite`, in order; those of other `contenders` are left out.

    Args:
        batch_size: of training. Scores and samples are timed at 1, 8 and 64.
        smoke: smaller batches and shorter curves, to see that everything runs.
    """
    scored = (1, 2) if smoke else SCORED
    if suite in PLAIN:
        measure, names = PLAIN[suite]
        sizes = scored if measure in ("score", "sample") else (batch_size,)
        jobs = [Job(name, measure, sizes, config) for name in names]
    elif suite == "small":
        small = config if smoke else dataclasses.replace(config, **SMALL)
        jobs = [
            Job(name, measure, sizes, small)
            for measure, sizes, names in (
                ("train", (batch_size,), ("lcma", "lcma_serial_ops", "torch", "bare")),
                ("score", scored, ("lcma", "lcma_serial_ops", "torch", "bare")),
                ("sample", scored, ("lcma", "lcma_serial_ops", "torch")),
            )
            for name in names
        ]
    elif suite == "phases":
        quickstart = config if smoke else dataclasses.replace(config, **QUICKSTART)
        jobs = [Job("lcma", "phases", (batch_size,), quickstart)]
    elif suite == "memory":
        sizes = (2, 4) if smoke else (8, 64)
        jobs = [
            Job(name, "train", (size,), config, f"batch={size}")
            for size in sizes
            for name in ("lcma", "lcma_rematerialize", "torch")
        ]
    elif suite in CURVES:
        field, values = CURVES[suite]
        jobs = [
            Job(name, measure, (batch_size,), config_at, f"{suite}={value}")
            for measure in ("train", "score", "sample")
            for value in (SMOKE_CURVES[suite] if smoke else values)
            for config_at in [dataclasses.replace(config, **{field: value})]
            for name in ("lcma", "torch")
        ]
    else:
        raise ValueError(f"`suite` must be one of {', '.join(SUITES)}; got {suite!r}.")
    return [job for job in jobs if job.contender in contenders]
