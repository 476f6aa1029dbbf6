"""`lcma-score`, or `python -m export.score`: scores images, or draws samples, by a model server.

    lcma-score --address=localhost:8501 --model=flow score FOLDER --csv=scores.csv
    lcma-score --address=localhost:8501 --model=flow score FOLDER --all_scores --csv=scores.csv
    lcma-score --address=localhost:8501 --model=flow sample --num=16 --output=samples.png

Files are sent as they are. Decoders of JPEG differ, by up to 22 levels a pixel, and so do the scores:
the server decodes by the method that is stored with the model, that of its training data, and its
decoder alone says which file is one. A file without a score gets a row that says why, and ends nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import pathlib
import sys
from collections.abc import Sequence

from lcma_tf.serving.client.checks import MAX_BATCH_SIZE, MAX_TEMPERATURE, RequestError
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.file_scores import (
    FileScore,
    all_scores,
    likelihood,
    rows_of_files,
    score_files,
)
from lcma_tf.serving.client.image_files import find_images
from lcma_tf.serving.client.transport import ServingError, Transport

__all__ = ["FileScore", "main", "score_files"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0, 1 for an error or a file without a score, 130."""
    arguments = _parser().parse_args(argv)
    try:
        with ServingClient(
            _connect(arguments), max_batch_size=arguments.batch_size, timeout=arguments.timeout
        ) as client:
            return arguments.run(client, arguments)
    except KeyboardInterrupt:
        print("\nInterrupted. What was written is kept.", file=sys.stderr)
        return 130
    except (RequestError, ServingError, ImportError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _score_folder(client: ServingClient, arguments: argparse.Namespace) -> int:
    paths = find_images(arguments.folder)
    # Before the file is opened: a wrong address should not empty the scores of an earlier run.
    _ = client.image_shape
    asked = (all_scores if arguments.all_scores else likelihood)(client)
    failed = 0
    with contextlib.ExitStack() as stack:
        file = sys.stdout
        if arguments.csv:
            file = stack.enter_context(open(arguments.csv, "w", newline="", encoding="utf-8"))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", *asked.names, "error"))
        for start in range(0, len(paths), arguments.batch_size):
            part = paths[start : start + arguments.batch_size]
            for path, row in zip(part, rows_of_files(client, part, asked), strict=True):
                writer.writerow((_name(path, arguments.folder), *row))
                failed += bool(row[-1])
            file.flush()  # What an interruption leaves.
            _show_progress(start + len(part), len(paths))
    if failed:
        print(f"error: {failed} of {len(paths)} files have no score", file=sys.stderr)
    return int(failed > 0)


def _draw_samples(client: ServingClient, arguments: argparse.Namespace) -> int:
    path = pathlib.Path(arguments.output)
    if path.is_dir() or not path.parent.is_dir():
        raise RequestError(f"`output` must be a file in an existing folder; got {str(path)!r}.")
    channels = client.image_shape[-1]
    if channels not in (1, 3):
        raise RequestError(f"samples can be drawn of 1 or 3 channels; the model has {channels}.")
    from lcma_tf import plots

    images = client.sample(arguments.num, arguments.seed, arguments.temperature)
    plots.save_image_grid(path, images, columns=math.ceil(math.sqrt(len(images))))
    print(path)
    return 0


def _name(path: pathlib.Path, folder: str) -> str:
    # A name of a file may be bytes that are no text.
    return os.fsencode(path.relative_to(folder).as_posix()).decode(errors="replace")


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        bar = "#" * (30 * done // total)
        end = "\n" if done == total else ""
        print(f"\r[{bar:<30}] {done} of {total} files", end=end, file=sys.stderr, flush=True)


def _connect(arguments: argparse.Namespace) -> Transport:
    if arguments.protocol == "rest":
        from lcma_tf.serving.client.rest import RestTransport

        return RestTransport(arguments.address, arguments.model, arguments.version)
    from lcma_tf.serving.client.grpc import GrpcTransport

    return GrpcTransport(arguments.address, arguments.model, arguments.version)


def _parser() -> argparse.ArgumentParser:
    from lcma_tf.typed import typed_program  # Here: clients are of `serving` alone.

    parser = argparse.ArgumentParser(
        prog=typed_program("export.score"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--address", required=True, help="host:port of the server (REST 8501, gRPC 8500)")
    add("--model", required=True, help="the name the model is served by")
    add("--version", type=int, help="of the model; default: the newest that is served")
    add("--protocol", choices=("rest", "grpc"), default="rest")
    add("--timeout", type=float, default=60.0, help="seconds for each request (%(default)g)")
    add(
        "--batch_size",
        type=int,
        default=MAX_BATCH_SIZE,
        help="images of a request, at most the model's own limit (%(default)s)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    score = commands.add_parser("score", help="score every PNG and JPEG file in a folder")
    score.add_argument("folder", metavar="FOLDER")
    score.add_argument("--csv", help="where the scores go (default: standard output)")
    score.add_argument(
        "--encoded", action="store_true", help="as always: the server decodes the files"
    )
    score.add_argument(
        "--all_scores",
        action="store_true",
        help="every score of docs/scores.md, of a model that was exported with a calibration",
    )
    score.set_defaults(run=_score_folder)

    sample = commands.add_parser("sample", help="draw samples into a PNG file")
    sample.add_argument("--num", type=int, default=16)
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument(
        "--temperature", type=float, default=1.0, help=f"0 to {MAX_TEMPERATURE:g} (%(default)g)"
    )
    sample.add_argument("--output", default="samples.png")
    sample.set_defaults(run=_draw_samples)
    return parser
