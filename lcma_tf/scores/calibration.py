"""What is known of normal images, and kept in one file beside the flow that measured them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from lcma_tf.choices import SCORES
from lcma_tf.config import is_rate
from lcma_tf.files.npz import NpzError, read_npz, save_npz
from lcma_tf.files.paths import path_text
from lcma_tf.scores.errors import CalibrationError
from lcma_tf.scores.measures import measure_names
from lcma_tf.scores.states import States
from lcma_tf.scores.table import Known
from lcma_tf.scores.tail import Tail

if TYPE_CHECKING:
    from lcma_tf.model import FlowModel

__all__ = ["Calibration", "check_rate", "fingerprint_of"]

_FORMAT_VERSION = 1
_ABOVE = "log_prob, above"  # The other end of `log_prob`, which `typicality` asks for, too.


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How every score is distributed over images that are as they should be. Made by `calibrate`.

    Args:
        fingerprint: of the flow (`fingerprint_of`).
        tails: of each raw score, by name, how rare values at its unusual end are.
        states: the distribution behind `density_of_states`.
        mean_map: float32 `[H, W]`, nats: what each pixel adds to `log_prob` on average.
        num_dimensions: bits/dim are per so many.
        num_images: it was made from.
        seed: of the dequantization noise.
        false_alarm_rate: the share of normal images at which `is_anomaly` begins, in (0, 0.5).
        anomaly_by: the raw score that `anomaly_score` and `is_anomaly` are made of.

    Raises:
        CalibrationError: a rate outside (0, 0.5), or `anomaly_by` is no score that has a tail.

    Example:
        ```python
        import dataclasses

        import numpy as np

        import lcma_tf

        images = np.random.default_rng(0).integers(0, 256, (128, 8, 8, 1), dtype=np.uint8)
        flow = lcma_tf.FlowModel(
            lcma_tf.FlowConfig(
                image_shape=(8, 8, 1), num_scales=1, base_dim=4, num_residual_blocks=1
            )
        )
        lcma_tf.calibrate(flow, images, verbose=False).save("calibration.npz")
        known = lcma_tf.Calibration.load("calibration.npz")
        stricter = dataclasses.replace(known, false_alarm_rate=0.05, anomaly_by="complexity")
        assert stricter.num_images == 128
        ```
    """

    fingerprint: str
    tails: Mapping[str, Tail]
    states: States
    mean_map: np.ndarray
    num_dimensions: int
    num_images: int
    seed: int = 0
    false_alarm_rate: float = 0.01
    anomaly_by: str = "density_of_states"

    def __post_init__(self):
        check_rate(self.false_alarm_rate)
        known = [name for name in self.tails if name in SCORES]  # One may have left the table.
        if self.anomaly_by not in known:
            raise CalibrationError(
                f"`anomaly_by` must be one of {', '.join(known)}; got {self.anomaly_by!r}."
            )

    @staticmethod
    def tails_of(values: Mapping[str, np.ndarray], log_prob: np.ndarray) -> dict[str, Tail]:
        """`tails`, from the strangeness `[n]` of known images under each raw score."""
        named = {**values, _ABOVE: log_prob}
        return {name: Tail.of(name, column) for name, column in named.items()}

    def log_rarity(self, name: str, known: Known) -> tf.Tensor:
        """Log of the share of normal images at least as unusual by the raw score `name`: float64."""
        return self.tails[name].log_share(SCORES[name].strangeness(known))

    def is_anomaly(self, values: np.ndarray, rate: float) -> np.ndarray:
        """What `is_anomaly` is at another `rate`, `[N]`, of `values` `[N]` of the score `anomaly_by`."""
        name = self.anomaly_by
        rarity = self.tails[name].log_share(SCORES[name].oriented(values))
        return rarity.numpy() <= np.log(np.float64(np.float32(rate)))  # As the graph is given it.

    def log_share_above(self, log_prob: tf.Tensor) -> tf.Tensor:
        """Log of the share of normal images with at least this `log_prob`."""
        return self.tails[_ABOVE].log_share(log_prob)

    def check_fits(self, model: FlowModel) -> None:
        """Raises `CalibrationError` unless it was made with the weights that `model` has now.

        And unless it is whole: of the measures, the pixels and the dimensions of such a flow.
        """
        if fingerprint_of(model) != self.fingerprint:
            raise CalibrationError(
                "`calibration` must be that of this flow; got one of another flow, or of the weights "
                "before a further training: calibrate anew."
            )
        config = model.config
        fits = (
            self.mean_map.shape == config.image_shape[:2]
            and self.num_dimensions == config.num_dimensions
            and {*self.states.names} <= {*measure_names(config, model.factorization)}
        )
        if not fits:
            raise CalibrationError(
                "`calibration` must be whole; its map, dimensions or measures are not those of the flow."
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it to one npz file, whole or not at all.

        Raises:
            SaveError: the file system refuses; what was there is kept.
        """
        save_npz(path, self._to_arrays())

    @property
    def digest(self) -> str:
        """Of all that it knows: two of one digest say the same of every image."""
        digest = hashlib.blake2b(digest_size=16)
        for name, array in self._to_arrays().items():
            array = np.ascontiguousarray(array)
            digest.update(repr((name, array.dtype.str, array.shape)).encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _to_arrays(self) -> dict[str, np.ndarray]:
        arrays: dict[str, Any] = {
            "format_version": np.int64(_FORMAT_VERSION),
            "scores": np.array(list(self.tails)),
            "mean_map": self.mean_map,
            **self.states.to_arrays(),
        }
        for name, tail in self.tails.items():
            arrays |= tail.to_arrays(name)
        for name in _SCALARS:
            arrays[name] = np.array(getattr(self, name))
        return arrays

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Reads what `save` wrote.

        Raises:
            CalibrationError: there is none, or it is damaged or of another form.
            PathError: `path` is none.
        """
        named = path_text("path", path)
        rule = f"`calibration` must be a file of lcma_tf.calibrate; got {named!r}"
        try:
            arrays = read_npz(path)
            if arrays["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"its format is {arrays['format_version']}")
            mean_map = arrays["mean_map"]
            if (
                mean_map.dtype != np.float32
                or mean_map.ndim != 2
                or not np.isfinite(mean_map).all()
            ):
                raise ValueError("its mean map is none")
            if int(arrays["num_images"].item()) < 1:
                raise ValueError("its number of images is none")
            names = arrays["scores"].tolist()
            return cls(
                tails={name: Tail.from_arrays(name, arrays) for name in names},
                states=States.from_arrays(arrays),
                mean_map=mean_map,
                **{name: kind(arrays[name].item()) for name, kind in _SCALARS.items()},
            )
        except NpzError as error:
            raise CalibrationError(f"{rule}: {str(error).rstrip('.')}.") from error
        except (KeyError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else error
            raise CalibrationError(f"{rule}: {what}.") from error


_SCALARS: dict[str, type] = {
    "fingerprint": str,
    "num_dimensions": int,
    "num_images": int,
    "seed": int,
    "false_alarm_rate": float,
    "anomaly_by": str,
}


def check_rate(rate: float) -> None:
    """Raises `CalibrationError` unless `rate` is a share of false alarms."""
    if not is_rate(rate):
        raise CalibrationError(
            f"`false_alarm_rate` must be between 0 and 0.5, both excluded; got {rate!r}."
        )


def fingerprint_of(model: FlowModel) -> str:
    """A digest of all that the scores of `model` depend on: weights, moments, splits and config."""
    config = {**model.config.to_dict(), "seed": None}  # The weights are drawn: it decides no score.
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([config, model.factorization.to_dict()], sort_keys=True).encode())
    for variable in model.weights:
        if variable is not model.training_calls:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()
