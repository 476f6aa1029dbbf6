"""What an evaluation leaves: its figures in `evaluation.json`, and on request a table of all scores."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from typing import Any

import numpy as np

from lcma_tf.data import OneSplit
from lcma_tf.experiment.evaluation import standard_error
from lcma_tf.experiment.workdir import Workdir, WorkdirError
from lcma_tf.files.paths import printable
from lcma_tf.files.saving import write_json, written_whole

__all__ = ["EvaluationFile", "figures", "write_scores"]


class EvaluationFile:
    """`<workdir>/evaluation.json`: a list of evaluations, each with what was asked and what came out.

    What was asked once more takes the place of the first answer; all others stay.

    Args:
        workdir: of a finished run. The digest of its `model.keras` is part of what is asked, so that
            figures of a run that has gone on stand beside the earlier ones.

    Raises:
        WorkdirError: there is one that cannot be read.
    """

    def __init__(self, workdir: Workdir):
        self.path = workdir.path / "evaluation.json"
        self._workdir = workdir
        self._read()

    def add(self, asked: dict[str, Any], found: dict[str, Any]) -> None:
        """Writes one evaluation to the others, whole or not at all.

        Raises:
            SaveError: the file system refuses; what was there is kept.
            WorkdirError: what is there has become unreadable.
        """
        asked = {"model": _digest(self._workdir.model), **asked}
        others = [entry for entry in self._read() if entry["asked"] != asked]
        write_json(self.path, [*others, {"asked": asked, **found}])

    def _read(self) -> list[dict[str, Any]]:
        try:
            entries = json.loads(self.path.read_text()) if self.path.exists() else []
            if not isinstance(entries, list) or any("asked" not in entry for entry in entries):
                raise ValueError("it is no list of evaluations")
            return entries
        except (OSError, ValueError, TypeError) as error:
            raise WorkdirError(
                f"`workdir` must have a readable {self.path.name} or none; "
                f"got {str(self._workdir.path)!r}: {error}"
            ) from error


def figures(
    images: OneSplit, scores: np.ndarray, parts: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """What is kept of scores `[N]`, bits/dim: their mean, its standard error, means of parts."""
    found = {
        "bits_per_dim": float(scores.mean()),
        "standard_error": standard_error(scores),
        "num_images": len(scores),
        "num_dimensions": images.num_original_dimensions,
    }
    if parts is not None:
        found["parts"] = {name: float(part.mean()) for name, part in parts.items()}
    return {
        **found,
        "dataset_description": printable(images.description),
        "fingerprint": images.fingerprint,
    }


def write_scores(path: str | os.PathLike[str], images: OneSplit, scores: np.ndarray) -> None:
    """Writes a CSV file with a line an image: `index,name,bits_per_dim,log_prob`.

    `name` is that of the file relative to its folder, or the index where the source has no names;
    `log_prob` is in nats. Numbers are the shortest text that reads back as the same float64.

    Raises:
        SaveError: the file system refuses; what was there is kept.
    """
    names = images.file_names or range(len(scores))
    nats = -scores * images.num_original_dimensions * math.log(2.0)
    with written_whole(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "name", "bits_per_dim", "log_prob"])
        for index, name in enumerate(names):
            writer.writerow([index, printable(name), float(scores[index]), float(nats[index])])


def _digest(path: os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
