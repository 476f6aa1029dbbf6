"""Files scored by a model server: a row for each, with its numbers or the reason why it has none."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lcma_tf.serving.client.checks import RequestError
from lcma_tf.serving.client.client import ServingClient
from lcma_tf.serving.client.image_files import check_encoded, is_whole
from lcma_tf.serving.client.retry import MAYBE_SPOILED
from lcma_tf.serving.client.transport import ServingError

__all__ = ["Asked", "FileScore", "all_scores", "likelihood", "rows_of_files", "score_files"]

_LIKELIHOOD = ("log_prob", "bits_per_dim")


class FileScore(NamedTuple):
    """What is written of a file: its numbers, or why it has none; what it lacks is ''.

    The numbers are the shortest text that reads back as the same float32.
    """

    log_prob: str = ""
    bits_per_dim: str = ""
    error: str = ""


def score_files(client: ServingClient, paths: Sequence[pathlib.Path]) -> list[FileScore]:
    """Scores files, in one request if the server takes it.

    What looks damaged is asked for by itself, so that it spoils no request of others; whether it has a
    score is still the server's to say.

    Args:
        client: of the model.
        paths: PNG and JPEG files.

    Raises:
        ServingError: what has nothing to do with a file: the server is away, or has no such model.
    """
    return [FileScore(*row) for row in rows_of_files(client, paths, likelihood(client))]


class Asked(NamedTuple):
    """What is asked of the server: files to arrays by name, of which `names` are written."""

    names: Sequence[str]
    scores: Callable[[list[bytes]], Mapping[str, np.ndarray]]


def likelihood(client: ServingClient) -> Asked:
    """`log_prob` and `bits_per_dim`, which every model has."""
    return Asked(_LIKELIHOOD, lambda files: client.score_encoded(files)._asdict())


def all_scores(client: ServingClient) -> Asked:
    """Every score of a model that was exported with a calibration.

    Raises:
        ServingError: it has none.
    """
    # Of a black image, to know their names, and whether the model has them at all.
    found = client.anomaly_scores(np.zeros((1, *client.image_shape), np.uint8))
    names = [*_LIKELIHOOD, *sorted({*found} - {*_LIKELIHOOD})]
    return Asked(names, client.anomaly_scores_encoded)


def rows_of_files(
    client: ServingClient, paths: Sequence[pathlib.Path], asked: Asked
) -> list[tuple[str, ...]]:
    """Of each file what is asked, and why it is not there."""
    found: dict[int, tuple[str, ...]] = {}
    whole: dict[int, bytes] = {}
    damaged: dict[int, bytes] = {}
    for i, path in enumerate(paths):
        try:
            data = _read(path, client)
        except RequestError as error:
            found[i] = _without(asked, f"{error}")
        except OSError as error:
            found[i] = _without(asked, error.strerror or repr(error))
        else:
            (whole if is_whole(data) else damaged)[i] = data
    for part in (whole, *({i: data} for i, data in damaged.items())):
        found |= zip(part, _rows_of(asked, [*part.values()]), strict=True)
    return [found[i] for i in range(len(paths))]


def _without(asked: Asked, error: str) -> tuple[str, ...]:
    return (*[""] * len(asked.names), error)


def _read(path: pathlib.Path, client: ServingClient) -> bytes:
    limit = client.max_file_bytes
    # One byte more tells that there are more, however many: what is too large is not read.
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise RequestError(f"must have at most {limit} bytes, those of one request; it has more")
    check_encoded(data, client.image_shape)
    return data


def _rows_of(asked: Asked, files: list[bytes]) -> list[tuple[str, ...]]:
    """Scores files together; if the server refuses them, in halves, until it is known which."""
    if not files:
        return []
    try:
        scores = asked.scores(files)
    except (RequestError, ServingError) as error:
        if isinstance(error, ServingError) and error.status not in MAYBE_SPOILED:
            raise
        if len(files) == 1:
            return [_without(asked, " ".join(str(error).split()))]
        middle = len(files) // 2
        return _rows_of(asked, files[:middle]) + _rows_of(asked, files[middle:])
    return [
        (*map(str, row), "")
        if np.isfinite(row).all()
        else _without(asked, "its score is not finite")
        for row in zip(*(scores[name] for name in asked.names), strict=True)
    ]
