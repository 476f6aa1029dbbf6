"""The files that a study leaves beside its runs: tables, figure, samples, each whole or not at all."""

from __future__ import annotations

import contextlib
import pathlib
import platform
from collections.abc import Mapping
from importlib import metadata

import numpy as np

from lcma_tf.config import TrainConfig
from lcma_tf.data import ImageData
from lcma_tf.experiment.workdir import Workdir
from lcma_tf.files.npz import NpzError, read_npz, save_npz
from lcma_tf.files.saving import write_json, written_whole
from lcma_tf.model import load
from lcma_tf.plots.study import save_ablation, save_sample_grids
from lcma_tf.study.config import Arm, StudyConfig, extra_steps
from lcma_tf.study.folder import StudyFolder, is_finished
from lcma_tf.study.markdown import as_markdown
from lcma_tf.study.report import StudyReport

__all__ = ["write_outputs"]

_GRID = 6  # Rows and columns of each grid of samples.
_PACKAGES = ("lcma_tf", "tensorflow", "keras", "tensorflow-probability", "numpy")
_CODECS = {"png": "PNG", "webp": "WebP"}


def write_outputs(
    folder: StudyFolder,
    study: StudyConfig,
    train: TrainConfig,
    data: ImageData,
    failures: Mapping[str, str],
) -> StudyReport:
    """Writes `ablation.md`, `.csv`, `.json`, `.png` and `samples.png` from the finished runs.

    Args:
        failures: run -> why it ended without a result.
    """
    results = folder.results(study, train)
    report = StudyReport(
        results,
        train.train_steps,
        extra_steps(train),
        study.seeds,
        _about(folder, train, data, results),
        tuple(folder.commands()),
        _versions(),
        failures,
    )
    write_json(folder.path / "ablation.json", report.to_dict())
    with written_whole(folder.path / "ablation.csv") as path:
        path.write_text(report.to_csv())
    with written_whole(folder.path / "ablation.md") as path:
        path.write_text(as_markdown(report))
    if report.runs():
        with written_whole(folder.path / "ablation.png") as path:
            _draw(path, folder, report)
    first = study.seeds[0]
    samples = {
        _title(arm, report, first): _samples(folder.run(arm, first), first)
        for arm, by_seed in results.items()
        if first in by_seed and is_finished(folder.run(arm, first))
    }
    if samples:
        title = f"Samples of the runs with seed {first}, from the same latents"
        with written_whole(folder.path / "samples.png") as path:
            save_sample_grids(path, samples, title, columns=_GRID)
    return report


def _draw(path: pathlib.Path, folder: StudyFolder, report: StudyReport) -> None:
    labels = {arm: _label(arm, report) for arm in report.results}
    save_ablation(
        path,
        {labels[arm]: report.figures(arm) for arm in report.results},
        {
            labels[arm]: [folder.validation_curve(arm, seed) for seed in by_seed]
            for arm, by_seed in report.results.items()
        },
        {labels[arm]: arm.rule for arm in report.results},
    )


def _samples(workdir: Workdir, seed: int) -> np.ndarray:
    """Samples of a finished run, drawn once and kept in its workdir."""
    path = workdir.path / "samples.npz"
    if path.exists():
        with contextlib.suppress(NpzError, KeyError):  # What is damaged is drawn again.
            return read_npz(path)["images"]
    images = load(workdir.path).frozen().sample(_GRID**2, seed).numpy()
    save_npz(path, {"images": images})
    return images


def _label(arm: Arm, report: StudyReport) -> str:
    extra = report.total_steps(arm) - arm.steps
    pretraining = f" + {extra:,} pretraining" if extra else ""
    return f"{arm.rule}\n{arm.steps:,}{pretraining} steps"


def _title(arm: Arm, report: StudyReport, seed: int) -> str:
    """Of the samples of one run: its own bits/dim, not the mean over seeds."""
    name = _label(arm, report).replace("\n", ", ")
    return f"{name}\n{report.figures(arm)[seed]:.3f} bits/dim"


def _about(folder, train, data, results) -> tuple[str, ...]:
    flow, _ = folder.read_configs()
    shape = " x ".join(map(str, data.image_shape))
    if data.original_shape != data.image_shape:
        shape += f" (padded from {' x '.join(map(str, data.original_shape))})"
    counts = f"{len(data.train):,} / {len(data.validation):,} / {len(data.test):,}"
    lines = [
        f"Data: `{train.dataset}`, {counts} training, validation and test images of {shape}.",
        f"Flow: {flow.flow}, {flow.num_scales} scales, base_dim {flow.base_dim}, "
        f"{_of_levels(flow)}coupling `{flow.coupling}`, exit_prior `{flow.exit_prior}`, "
        f"dequantization `{flow.dequantization}`, "
        + ", ".join(f"{name} {value}" for name, value in flow.own_fields().items())
        + ".",
        f"Training: batches of {train.batch_size}, {train.optimizer.capitalize()}, learning rate "
        f"{train.learning_rate:g}, "
        f"schedule {train.learning_rate_schedule} over each run's own steps, warm-up "
        f"{train.warmup_steps} steps, "
        f"{'' if train.ema is None else f'averaged weights of momentum {train.ema:g}, '}"
        f"{'mirrored at random' if train.flip else 'not mirrored'}; the state with the best "
        "validation bits/dim is scored, on the whole test split, with one noise draw an image.",
    ]
    if {train.channel_rotation, train.whitening} != {"none"}:
        lines.append(
            f"Fitted to the training set, for all rules: channel_rotation `{train.channel_rotation}`, "
            f"whitening `{train.whitening}`."
        )
    if train.factorize_at_step is not None:
        lines.append(
            f"One run: rules that read what a flow without splits has learned decide after step "
            f"{train.factorize_at_step:,} of their own steps, and go on with its weights that fit."
        )
    for run in [run for by_seed in results.values() for run in by_seed.values()][:1]:
        figures = {name: run.get(f"{codec}_bits_per_dim") for codec, name in _CODECS.items()}
        coded = ", ".join(f"{n} {value:.3f}" for n, value in figures.items() if value is not None)
        if coded:
            lines.append(f"For scale: {coded} bits/dim, first {run['codec_images']:,} test images.")
    return tuple(lines)


def _of_levels(flow) -> str:
    """The widths that levels have each for itself, where they do."""
    return "" if flow.level_widths is None else f"level_widths {flow.level_widths}, "


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # Run from its folder, not installed.
    return {**found, "on": f"{platform.system()} {platform.machine()}"}
