"""The same scores from many machines: a pipeline of Apache Beam, on whatever runner it is given.

Beam finds the files, deals them out, tries again where a machine fails, and writes the tables; ours is
what a machine does with a batch. Needs the extra `beam`.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.io import fileio, parquetio
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from lcma_tf.batch.batches import batch_of, decoded
from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.inputs.parquet import content_of
from lcma_tf.batch.partial import as_line
from lcma_tf.batch.pictures import REFUSE, Pictures
from lcma_tf.batch.scorer import Scorer, flow_scorer
from lcma_tf.batch.tables import ERROR, NAME
from lcma_tf.experiment.calibrated import scored_flow
from lcma_tf.experiment.workdir import Workdir

__all__ = ["BeamJob", "Counts"]

_PARQUET = "parquet:"
_SCORED, _FAILED = (Metrics.counter("lcma_tf", name) for name in ("scored", "failed"))


class Counts(NamedTuple):
    """How many images were scored, and how many were not; None where a runner does not count."""

    scored: int | None
    failed: int | None


class BeamJob(NamedTuple):
    """One input scored into the files of one output: `run`.

    Args:
        workdir: of a calibrated run, on a file system that all machines see and Beam knows (`gs://`,
            `hdfs://`, a mounted folder): each copies the model from there once.
        input: a pattern of files, `FOLDER/**` say, or `parquet:PATTERN:COLUMN:NAMES`, where `COLUMN` has
            the bytes of PNG or JPEG files and `NAMES` what the rows are called.
        output: what the names of the files begin with, and an ending, `.csv` or `.parquet`.
        options: Beam's own, `--runner=FlinkRunner` say.
        false_alarm_rate, batch_invariant: of `ScoredFlow`.
        batch_size: images a pass, fewer at the end of what a machine is given.
        resize: of `Pictures`.
    """

    workdir: str
    input: str
    output: str
    options: Sequence[str] = ()
    false_alarm_rate: float | None = None
    batch_invariant: bool = False
    batch_size: int = 64
    resize: str = REFUSE

    def run(self) -> Counts:
        """Scores everything and waits for it; the rows are in no order.

        Raises:
            BatchError: there is no input, no such kind of input or output, or `Pictures`.
            CalibrationError, FileNotFoundError, ModelFileError: the run has no flow or no calibration
                of it.
        """
        self.check()
        # Here already: a run without a calibration is told so before machines are asked for.
        scorer = _load(self.workdir, self.false_alarm_rate, self.batch_invariant)
        Pictures(scorer.original_shape, scorer.image_shape, self.resize)
        names = [NAME, *scorer.columns, ERROR]
        with beam.Pipeline(options=PipelineOptions([*self.options])) as pipeline:
            rows = (
                pipeline
                | "Read" >> _reader(self.input)
                | "Batch" >> beam.BatchElements(self.batch_size, self.batch_size)
                | "Score" >> beam.ParDo(_Score(self))
            )
            prefix, ending = os.path.splitext(self.output)
            if ending == ".csv":
                header = as_line(names).rstrip("\n")
                lines = rows | "Lines" >> beam.Map(_line, names)
                _ = lines | beam.io.WriteToText(prefix, ending, header=header)
            else:
                schema = _schema(scorer)
                _ = rows | parquetio.WriteToParquet(prefix, schema, file_name_suffix=ending)
        return _counts(pipeline.result)

    def check(self) -> None:
        """Raises `BatchError` unless input and output are there and of a kind that can be."""
        ending = os.path.splitext(self.output)[1]
        if ending not in (".csv", ".parquet"):
            raise BatchError(f"`output` must end in .csv or .parquet; got {self.output!r}")
        pattern = _of_parquet(self.input)[0] if self.input.startswith(_PARQUET) else self.input
        if not any(match.metadata_list for match in FileSystems.match([pattern], limits=[1])):
            raise BatchError(f"`input` must match a file; got {self.input!r}, which matches none")


class _Score(beam.DoFn):
    """A batch of names and file contents to rows; one flow for all threads of a process."""

    def __init__(self, job: BeamJob):
        self._job = job._replace(options=())  # A machine does not need the pipeline's options.
        self._shared = Shared()

    def setup(self):
        job = self._job
        self._scorer = self._shared.acquire(
            lambda: _load(job.workdir, job.false_alarm_rate, job.batch_invariant)
        )
        shapes = self._scorer.original_shape, self._scorer.image_shape
        self._pictures = Pictures(*shapes, job.resize)

    def process(self, element: Sequence[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
        names, contents = zip(*element, strict=True)
        found = [decoded(content_of(content), self._pictures) for content in contents]
        batch = batch_of(names, found, self._pictures)
        missing = [None] * len(self._scorer.columns)
        rows = self._scorer.rows(batch.images, batch.errors)
        for name, (row, error) in zip(names, rows, strict=True):
            (_FAILED if error else _SCORED).inc()
            scores = zip(self._scorer.columns, missing if row is None else row, strict=True)
            yield {NAME: name, **dict(scores), ERROR: error}


def _load(workdir: str, rate: float | None, batch_invariant: bool) -> Scorer:
    """The scorer of a run, from whatever file system its folder is on."""
    with tempfile.TemporaryDirectory() as folder:
        local = Workdir(folder)
        for path in (local.model, local.calibration):
            source = FileSystems.join(workdir, path.name)
            if FileSystems.exists(source):
                with FileSystems.open(source) as file, open(path, "wb") as copy:
                    shutil.copyfileobj(file, copy)
        return flow_scorer(scored_flow(local, batch_invariant), rate)


def _reader(name: str) -> beam.PTransform:
    """Names and contents of what the input matches."""
    if name.startswith(_PARQUET):
        pattern, column, names = _of_parquet(name)
        return _Chain(
            parquetio.ReadFromParquet(pattern, columns=[column, names]),
            beam.Map(lambda row: (str(row[names]), row[column])),
        )
    root = _before_wildcards(name)
    return _Chain(
        fileio.MatchFiles(name),
        beam.Reshuffle(),  # Else one machine reads all that one has found.
        fileio.ReadMatches(),
        beam.Map(lambda file: (_relative(root, file.metadata.path), file.read())),
    )


class _Chain(beam.PTransform):
    """One transform after the other."""

    def __init__(self, *transforms: beam.PTransform):
        super().__init__()
        self._transforms = transforms

    def expand(self, input_or_inputs):
        found = input_or_inputs
        for number, transform in enumerate(self._transforms):
            found = found | f"{number}" >> transform
        return found


def _of_parquet(name: str) -> tuple[str, str, str]:
    parts = name.removeprefix(_PARQUET).rsplit(":", 2)
    if len(parts) != 3 or not all(parts):
        raise BatchError(f"`input` must be parquet:PATTERN:COLUMN:NAMES; got {name!r}")
    pattern, column, names = parts
    return pattern, column, names


def _before_wildcards(pattern: str) -> str:
    """The folder that names are relative to, with a slash behind it."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0] + "/"


def _relative(root: str, path: str) -> str:
    return path.removeprefix(root) if path.startswith(root) else pathlib.PurePath(path).name


def _line(row: dict[str, Any], names: Sequence[str]) -> str:
    return as_line(["" if row[n] is None else str(row[n]) for n in names]).rstrip("\n")


def _schema(scorer: Scorer):
    import pyarrow as pa

    kinds = {float: pa.float32(), bool: pa.bool_()}
    scores = [(name, kinds[kind]) for name, kind in scorer.columns.items()]
    return pa.schema([(NAME, pa.string()), *scores, (ERROR, pa.string())])


def _counts(result: Any) -> Counts:
    try:
        counters = result.metrics().query()["counters"]
        found = {entry.key.metric.name: entry.result for entry in counters}
    except (AttributeError, NotImplementedError, ValueError):
        return Counts(None, None)
    return Counts(found.get("scored", 0), found.get("failed", 0))
