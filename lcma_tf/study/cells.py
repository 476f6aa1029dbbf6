"""The results of finished runs as one file, a line of JSON each: kept with a project, grown anywhere.

A study whose folder is gone, or that goes on on another machine, is given the file, and takes what is in
it as run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import platform
import time
from collections.abc import Iterator, Mapping
from typing import Any

from lcma_tf.config import ConfigError, FlowConfig, TrainConfig
from lcma_tf.errors import UserError
from lcma_tf.files.paths import expanded, kind_of_dataset, path_text
from lcma_tf.files.saving import refusal_to_write, refusals_named
from lcma_tf.processor import processor_fields

__all__ = ["Cell", "Cells", "CellsError", "processor"]

# How often a run is looked at and saved, and where its images are: not what comes out.
_NOT_COMPARED = ("steps_per_epoch", "data_dir", "dataset", "skip_bad_images")


class CellsError(UserError, ValueError):
    """A file of results that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is kept of a finished run.

    Args:
        flow, train: its configs.
        images: `ImageData.fingerprint` of its images.
        metrics: its `metrics.json`.
        curve: `step` and `val_bits_per_dim` of its training, an entry an epoch.
        processor: what it ran on; the last one, if it was interrupted.
        cpu_seconds: of all cores, a pretraining that it shares with others not counted; None if it was
            interrupted.
        finished: the day.
    """

    flow: dict[str, Any]
    train: dict[str, Any]
    images: dict[str, Any]
    metrics: dict[str, Any]
    curve: dict[str, list[float]]
    processor: str
    cpu_seconds: float | None = None
    finished: str = dataclasses.field(default_factory=lambda: time.strftime("%Y-%m-%d"))

    @classmethod
    def of_run(
        cls,
        flow: FlowConfig,
        train: TrainConfig,
        images: Mapping[str, Any],
        metrics: Mapping[str, Any],
        curve: Mapping[str, Any],
        cpu_seconds: float | None,
    ) -> Cell:
        """The cell of a run that ended here and now; places on this machine's disk are left out."""
        kind = kind_of_dataset(train.dataset)
        return cls(
            flow.to_dict(),
            {**train.to_dict(), "dataset": kind, "data_dir": None},
            dict(images),
            {**metrics, "dataset": kind},
            {name: [float(value) for value in column] for name, column in curve.items()},
            processor(),
            cpu_seconds,
        )

    @property
    def options(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the flow and of the training, all that its result depends on beside the images.

        An option that has no effect in it has the value that it has in its like.

        Raises:
            ConfigError: its configs are none.
        """
        # Through the configs, so that a field that came later has its default.
        return _options(FlowConfig.from_dict(self.flow), TrainConfig.from_dict(self.train))

    @property
    def key(self) -> str:
        """What runs that come to the same have in common.

        Raises:
            ConfigError: its configs are none.
        """
        return _key(self.options, self.images)


# Of each line: the first field by name.
_BEGINNING = f'{{"{min(field.name for field in dataclasses.fields(Cell))}": '.encode()


class Cells:
    """The cells in a file.

    Args:
        path: of the file; it need not be there yet. `~` is expanded.

    Raises:
        CellsError: a line of it is no cell, but for the beginning of one at its end, which a process
            that was killed has left.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(expanded(path_text("cells", path)))
        self._cells = self._read()  # By their keys; of one key the newest.

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def find(self, flow: FlowConfig, train: TrainConfig, images: Mapping[str, Any]) -> Cell | None:
        """The cell of a run; None if there is none. The newest, if there are several."""
        return self._cells.get(_key(_options(flow, train), images))

    def check_writable(self) -> None:
        """Raises `CellsError` if the file system would refuse what `add` writes: before any run."""
        if (refusal := refusal_to_write(self.path)) is not None:
            raise CellsError(
                f"`cells` must be a file that can be written ({refusal}); got {str(self.path)!r}."
            )

    def add(self, cell: Cell) -> None:
        """Appends `cell`, after those that other processes have added meanwhile.

        Raises:
            SaveError: the file cannot be written.
        """
        line = json.dumps(dataclasses.asdict(cell), sort_keys=True).encode()
        with refusals_named(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as file:
                with contextlib.suppress(OSError):  # A file system without locks.
                    fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                kept = _without_torn_end(file.read())
                file.truncate(len(kept))
                if kept and not kept.endswith(b"\n"):  # As an editor may leave it.
                    file.write(b"\n")
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._cells[cell.key] = cell

    def _read(self) -> dict[str, Cell]:
        try:
            content = self.path.read_bytes() if self.path.exists() else b""
            lines = _without_torn_end(content).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CellsError(
                f"`cells` must be a file of results; got {str(self.path)!r}: {error}."
            ) from error
        cells = {}
        for number, line in enumerate(lines, start=1):
            try:
                cell = Cell(**json.loads(line))
                float(cell.metrics["test_bits_per_dim"])
                cells[cell.key] = cell
            except (ValueError, TypeError, KeyError, ConfigError) as error:
                raise CellsError(
                    "`cells` must be a file of results, a line of JSON for each; "
                    f"got {str(self.path)!r} with another line {number}: {error}."
                ) from error
        return cells


def _without_torn_end(content: bytes) -> bytes:
    """All but the beginning of a cell at the end, which a process that was killed has left."""
    last = content.rpartition(b"\n")[2]
    if last[: len(_BEGINNING)] != _BEGINNING[: len(last)]:
        return content
    try:
        json.loads(last)
    except ValueError:
        return content.removesuffix(last)
    return content


def processor() -> str:
    """The processor that this runs on, with its widest vector units."""
    found = processor_fields()
    if not found:
        return platform.processor() or platform.machine()
    flags = found.get("flags", "").split()
    units = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "no AVX")
    return f"{found.get('model name', platform.machine())}, {units}"


def _options(flow: FlowConfig, train: TrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    # A study gives one flow to all its rules; this one reads less of it.
    if train.split_rule == "none":
        aligned = flow.coupling_masks == "aligned"
        masks = "checkerboard" if aligned else flow.coupling_masks
        flow = dataclasses.replace(flow, exit_prior="standard", coupling_masks=masks)
    compared = {k: v for k, v in train.to_dict().items() if k not in _NOT_COMPARED}
    return flow.to_dict(), compared


def _key(options: tuple[dict[str, Any], dict[str, Any]], images: Mapping[str, Any]) -> str:
    return json.dumps([*options, dict(images)], sort_keys=True)
