"""What scores a batch by an exported SavedModel: its graph alone, with no flow built around it."""

from __future__ import annotations

import hashlib
import os
import pathlib

import numpy as np

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.scorer import Scorer, Values
from lcma_tf.choices import SCORES
from lcma_tf.serving.runtime.cpp_session import Code, CppSession, CppSessionError
from lcma_tf.serving.runtime.scoring_note import ScoringNote

__all__ = ["export_scorer"]

_SIGNATURE = "scores_at_rate"  # At the calibration's rate it says what `scores` does.


def export_scorer(
    version_dir: str | os.PathLike[str],
    false_alarm_rate: float | None = None,
    batch_size: int = 1,
) -> Scorer:
    """That of a version which was exported with a calibration.

    Args:
        version_dir: the folder with saved_model.pb.
        false_alarm_rate: None = the calibration's.
        batch_size: images that it will be given at once, at most.

    Raises:
        BatchError: larger batches than the export takes.
        CppSessionError: TensorFlow refuses the SavedModel.
        ScoringNoteError: there is none, or none with a calibration.
    """
    note = ScoringNote.read(version_dir)
    if batch_size > note.max_batch_size:
        raise BatchError(
            f"`batch_size` must be at most {note.max_batch_size}, the rows that the export takes; "
            f"got {batch_size}"
        )
    rate = note.false_alarm_rate if false_alarm_rate is None else false_alarm_rate
    digest = _digest_of_files(version_dir)
    session = CppSession(version_dir)
    signature = session.signatures[_SIGNATURE]
    outputs = {name: info.dtype for name, info in signature.outputs.items()}

    def scores(images: np.ndarray) -> Values:
        rates = np.full(len(images), rate, np.float32)
        try:
            return session.run(_SIGNATURE, {"images": images, "false_alarm_rate": rates})
        except CppSessionError as error:
            # The graph refuses a request in which one image has no finite score; a table has the others.
            if error.code != Code.INVALID_ARGUMENT:
                raise
        if len(images) == 1:
            return {name: _missing(dtype) for name, dtype in outputs.items()}
        parts = [scores(images[i : i + 1]) for i in range(len(images))]
        return {name: np.concatenate([part[name] for part in parts]) for name in outputs}

    image_shape = signature.inputs["images"].shape
    assert image_shape is not None
    return Scorer(
        scores=scores,
        heat_map=lambda images: session.run("heat_map", {"images": images})["heat_map"],
        columns={name: _kind(outputs[name]) for name in SCORES if name in outputs},
        image_shape=tuple(size or 0 for size in image_shape[1:]),
        original_shape=note.original_shape,
        asked={"saved_model": digest, "false_alarm_rate": rate},
        ranked_by=(note.anomaly_by, note.unusual),
    )


def _kind(dtype: np.dtype) -> type:
    return bool if dtype.kind == "b" else float


def _missing(dtype: np.dtype) -> np.ndarray:
    return np.array([False] if dtype.kind == "b" else [np.nan], dtype)


def _digest_of_files(folder: str | os.PathLike[str]) -> str:
    """Of the content of all files: the same wherever the export is copied to."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file()):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(repr((path.relative_to(folder).as_posix(), content)).encode())
    return digest.hexdigest()
