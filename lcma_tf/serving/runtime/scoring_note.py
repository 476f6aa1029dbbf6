"""What an export with a calibration says beside its graph, for whoever scores images in bulk by it."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

from lcma_tf.errors import UserError

__all__ = ["SCORING_FILE", "ScoringNote", "ScoringNoteError"]

# In the folder that servers leave alone but for warm-up records.
SCORING_FILE = "assets.extra/lcma_tf_scoring.json"
_FORMAT_VERSION = 1


class ScoringNoteError(UserError, ValueError):
    """An export without scores that tell unusual images, or of another form."""


@dataclasses.dataclass(frozen=True)
class ScoringNote:
    """What the signatures of an export do not say of its scores.

    Args:
        original_shape: `(h, w, C)` of the picture in a frame of zeros, or that of an image.
        false_alarm_rate: of the calibration.
        anomaly_by: the score that `anomaly_score` is made of.
        unusual: which end of it is that of unusual images: `low` or `high`.
        max_batch_size: rows that a signature takes.
    """

    original_shape: tuple[int, ...]
    false_alarm_rate: float
    anomaly_by: str
    unusual: str
    max_batch_size: int

    def write(self, version_dir: str | os.PathLike[str]) -> None:
        """Writes it below the folder with saved_model.pb."""
        path = pathlib.Path(version_dir) / SCORING_FILE
        path.parent.mkdir(exist_ok=True)
        values = {"format_version": _FORMAT_VERSION, **dataclasses.asdict(self)}
        path.write_text(json.dumps(values, indent=2) + "\n")

    @classmethod
    def read(cls, version_dir: str | os.PathLike[str]) -> ScoringNote:
        """Reads what `write` wrote.

        Raises:
            ScoringNoteError: there is no export, none with a calibration, or the note is none of these.
        """
        folder = pathlib.Path(version_dir)
        got = f"got {os.fspath(version_dir)!r}"
        if not (folder / "saved_model.pb").is_file():
            raise ScoringNoteError(
                f"`saved_model` must be the folder of an exported version; {got}, which has no "
                "saved_model.pb"
            )
        if not (folder / SCORING_FILE).is_file():
            raise ScoringNoteError(
                f"`saved_model` must be exported from a calibrated run; {got}, which has no "
                f"{SCORING_FILE}: it has no calibration, or is of an earlier lcma_tf. Calibrate the "
                "run and export it anew."
            )
        try:
            values = json.loads((folder / SCORING_FILE).read_text())
            if values.pop("format_version") != _FORMAT_VERSION:
                raise ValueError("its form is another one")
            return cls(**{**values, "original_shape": tuple(values["original_shape"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ScoringNoteError(
                f"`saved_model` must have the {SCORING_FILE} that its export wrote; {got}: {error}"
            ) from error
