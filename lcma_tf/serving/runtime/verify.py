"""`lcma-verify VERSION_DIR`, or `python -m export.verify`: does an export do what the model does?

Runs a SavedModel in a process of its own, that has nothing of the one that made it: the C++ loader that
TensorFlow Serving is built on, no flow of ours, no Keras, no TensorFlow in Python (`clean_run`). Every
signature and every warm-up record is run; what comes out must be finite and, with `--expected`, what the
model itself had said.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from lcma_tf.serving.runtime.c_api import LoaderError
from lcma_tf.serving.runtime.clean_process import in_clean_process
from lcma_tf.serving.runtime.clean_run import PREFIX, Answers, Run
from lcma_tf.serving.runtime.comparison import VerificationError, check_equal, check_finite
from lcma_tf.serving.runtime.meta_graph import Signature, read_meta_graph, read_signatures
from lcma_tf.serving.runtime.warmup import WARMUP_FILE, WarmupRequest, read_warmup
from lcma_tf.typed import typed_program

__all__ = ["Report", "VerificationError", "verify"]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a server will need: seconds to load, memory then, seconds of each signature's first run.

    Attributes:
        load_seconds: of the C++ session.
        resident_mib: memory of the process after that, TensorFlow's libraries included; None where
            the system does not say.
        first_run_seconds: by signature.
        compared: whether the answers were compared with any.
    """

    load_seconds: float
    resident_mib: float | None
    first_run_seconds: dict[str, float]
    compared: bool

    def __str__(self) -> str:
        verdict = "as expected" if self.compared else "finite, compared with nothing"
        memory = "" if self.resident_mib is None else f", {self.resident_mib:.0f} MiB resident"
        lines = [
            f"{name}: first run {seconds:.2f} s, {verdict}"
            for name, seconds in self.first_run_seconds.items()
        ]
        return "\n".join([f"loaded in {self.load_seconds:.2f} s{memory}", *lines])


def verify(
    version_dir: str | os.PathLike[str],
    expected: Mapping[str, np.ndarray] | None = None,
    workers: int = 1,
    run_all: Callable[..., Answers] = in_clean_process,
) -> Report:
    """Runs every signature on its first warm-up record, then every warm-up record.

    Args:
        version_dir: the folder with saved_model.pb.
        expected: by `signature/output`, what each signature says to its first warm-up record. None:
            only that it says something finite.
        workers: signatures that are run at once. A first run keeps one core busy; the seconds that are
            reported are those of a server only if it is 1.
        run_all: what runs the graph; `clean_run.run_all` does so in this process.

    Raises:
        VerificationError: see there.
    """
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1; got {workers}.")
    try:
        signatures = read_signatures(read_meta_graph(version_dir))
        records = read_warmup(pathlib.Path(version_dir) / WARMUP_FILE)
        first = _first(signatures, records)
        # The first run of each asks for all outputs; a record's own filter is run after them.
        asked = [records[i]._replace(output_filter=()) for i in first] + records
        numbers = [*first, *range(len(records))]
        runs = [_run(signatures, i, record) for i, record in zip(numbers, asked, strict=True)]
        answers = run_all(version_dir, runs, len(first), workers)
    except (LoaderError, ValueError) as error:
        raise VerificationError(str(error)) from error
    for record, arrays in zip(asked, answers.arrays, strict=True):
        names = record.output_filter or signatures[record.signature].outputs
        for name, array in zip(names, arrays, strict=True):
            check_finite(f"{record.signature}/{name}", array)
    if expected is not None:
        found = {
            f"{name}/{output}": array
            for (name, signature), arrays in zip(signatures.items(), answers.arrays, strict=False)
            for output, array in zip(signature.outputs, arrays, strict=True)
        }
        _compare(found, expected)
    seconds = dict(zip(signatures, answers.seconds, strict=False))
    return Report(answers.load_seconds, answers.resident_mib, seconds, expected is not None)


def _first(signatures: Mapping[str, Signature], records: list[WarmupRequest]) -> list[int]:
    """Of each signature its first record."""
    indices = {record.signature: i for i, record in reversed([*enumerate(records)])}
    for signature in signatures:
        if signature not in indices:
            raise VerificationError(
                f"Signature {signature} must have a warm-up record; it has none."
            )
    return [indices[signature] for signature in signatures]


def _run(signatures: Mapping[str, Signature], index: int, record: WarmupRequest) -> Run:
    what = f"Warm-up record {index}"
    if record.signature not in signatures:
        raise VerificationError(
            f"{what} must run: its signature must be one of {', '.join(signatures)}; "
            f"got {record.signature!r}."
        )
    signature = signatures[record.signature]
    try:
        signature.check_names(record.inputs, record.output_filter)
    except ValueError as error:
        raise VerificationError(f"{what} must run: {error}") from error
    return Run(
        what,
        {signature.inputs[name].name: proto for name, proto in record.inputs.items()},
        [signature.outputs[name].name for name in record.output_filter or signature.outputs],
    )


def _compare(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    for key, actual in found.items():
        if key not in expected:
            raise VerificationError(f"`expected` must have every output; {key} is missing.")
        check_equal(key, actual, expected[key])
    if missing := sorted(set(expected) - set(found)):
        raise VerificationError(f"The model must have {', '.join(missing)}; it has not.")


def main() -> None:
    parser = argparse.ArgumentParser(prog=typed_program("export.verify"), description=__doc__)
    parser.add_argument("version_dir", help="the folder with saved_model.pb")
    parser.add_argument("--expected", help=".npz with an array for each signature/output")
    parser.add_argument("--workers", type=int, default=1, help="signatures run at once")
    parser.add_argument("--report", help="a JSON file to write the seconds to")
    arguments = parser.parse_args()
    try:
        expected = None
        if arguments.expected:
            if not zipfile.is_zipfile(arguments.expected):
                raise ValueError(f"`--expected` must be an .npz file; got {arguments.expected!r}.")
            with np.load(arguments.expected, allow_pickle=False) as archive:
                expected = dict(archive)
        report = verify(arguments.version_dir, expected, arguments.workers)
        if arguments.report:
            pathlib.Path(arguments.report).write_text(json.dumps(dataclasses.asdict(report)))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"{PREFIX}{' '.join(str(error).split())}")
    print(report)
