"""A trained flow becomes a version that a model server loads."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcma_tf.choices import SCORES
from lcma_tf.serving.client.checks import MAX_BATCH_SIZE
from lcma_tf.serving.runtime.scoring_note import ScoringNote

if TYPE_CHECKING:
    from lcma_tf.model import FlowModel
    from lcma_tf.scores.calibration import Calibration

__all__ = ["export_flow"]

_WORKERS = 2
_DEFAULT_COMMAND = "lcma_tf.serving.publishing.export_flow.export_flow(model, ...)"


def export_flow(
    model: FlowModel,
    export_dir: str | os.PathLike[str],
    *,
    noise_seed: int = 0,
    num_importance_samples: int = 1,
    max_batch_size: int = MAX_BATCH_SIZE,
    jpeg_method: str = "INTEGER_ACCURATE",
    batch_invariant: bool = False,
    calibration: Calibration | None = None,
    metrics: dict[str, Any] | None = None,
    command: str = _DEFAULT_COMMAND,
) -> Path:
    """Publishes `model` as the next version below `export_dir`; returns that version's folder.

    The new version is saved beside the others under a name that no server reads, then loaded by the C++
    loader of TensorFlow Serving in a process without Python's TensorFlow, where every signature is run
    and compared with the model. Only then it gets its number. Older versions are not touched.

    Args:
        model: trained, or not; a snapshot is taken. On a CPU: what it says is compared with what a CPU
            says of the export, to 1e-5.
        export_dir: base path of the served model, made if need be.
        noise_seed: of the scores, `seed` of `FlowModel.log_prob`.
        num_importance_samples: of the scores, as there.
        max_batch_size: rows of a request, or of requests that the server merges.
        jpeg_method: see `lcma_tf.data.ImageData`.
        batch_invariant: rows are computed one at a time, so that they have the same bits in every batch;
            slower (`FlowModel.frozen`).
        calibration: of the model; with it the export has the signatures of `ServingFlow` for it.
        metrics: for the model card: what `metrics.json` of the run says.
        command: for the model card.

    Raises:
        CalibrationError, ConfigError, PublishError: before anything is written.
        VerificationError: what was saved does not load or does not say what the model says; nothing is
            published.
    """
    import tensorflow as tf

    from lcma_tf.scores.scored_flow import ScoringGraph
    from lcma_tf.serving.graph.signatures import ServingFlow, check_serving_arguments
    from lcma_tf.serving.publishing.expected import example_inputs, expected_outputs
    from lcma_tf.serving.publishing.graph_scan import check_graph
    from lcma_tf.serving.publishing.model_card import CARD_FILE, model_card
    from lcma_tf.serving.publishing.versions import check_export_dir, new_version
    from lcma_tf.serving.runtime.verify import verify
    from lcma_tf.serving.runtime.warmup import write_warmup

    settings = {
        "noise_seed": noise_seed,
        "num_importance_samples": num_importance_samples,
        "max_batch_size": max_batch_size,
        "jpeg_method": jpeg_method,
    }
    started = time.perf_counter()
    check_serving_arguments(num_importance_samples, max_batch_size, jpeg_method)
    check_export_dir(export_dir)
    if calibration is not None:
        calibration.check_fits(model)
    # In one piece: the threads are the server's.
    frozen = model.frozen(batch_invariant=batch_invariant, pieces=1)
    scoring = calibration and ScoringGraph(frozen, model.factorization, calibration)
    serving = ServingFlow(frozen, **settings, scoring=scoring)
    settings["batch_invariant"] = batch_invariant
    card = model_card(model, serving.signatures, metrics or {}, settings, command)
    with new_version(export_dir) as version:
        tf.saved_model.save(serving, os.fspath(version.path), signatures=serving.signatures)
        check_graph(version.path)
        requests = example_inputs(model.config.image_shape, calibration)
        write_warmup(version.path, requests)
        (version.path / CARD_FILE).write_text(card)
        if calibration is not None:
            _scoring_note(model, calibration, max_batch_size).write(version.path)
        expected = expected_outputs(
            model, requests, noise_seed, num_importance_samples, calibration
        )
        report = verify(version.path, expected, workers=_WORKERS)
    values = sum(math.prod(variable.shape) for variable in serving.flow_variables)
    megabytes = sum(f.stat().st_size for f in version.path.rglob("*") if f.is_file()) / 1e6
    print(
        f"exported in {time.perf_counter() - started:.1f} s, {megabytes:.1f} MB: {values:,} values "
        f"stored for {model.num_parameters:,} parameters"
    )
    print(report)
    return version.path


def _scoring_note(model: FlowModel, calibration: Calibration, max_batch_size: int) -> ScoringNote:
    config, anomaly_by = model.config, calibration.anomaly_by
    return ScoringNote(
        original_shape=config.original_shape or config.image_shape,
        false_alarm_rate=calibration.false_alarm_rate,
        anomaly_by=anomaly_by,
        unusual=SCORES[anomaly_by].unusual,
        max_batch_size=max_batch_size,
    )
