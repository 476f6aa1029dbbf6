"""The most and the least unusual images of a table, looked at again: their pictures and heat maps."""

from __future__ import annotations

import heapq
import pathlib
from collections.abc import Iterable

import numpy as np

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.output_files import note_path, read_note, top_path
from lcma_tf.batch.score import Job
from lcma_tf.batch.tables import ERROR, NAME
from lcma_tf.files.saving import write_json, written_whole
from lcma_tf.image_files import ImageFileError
from lcma_tf.plots import RankedImages, save_ranked_images

__all__ = ["MAX_TOP", "check_sheet", "draw_top"]

MAX_TOP = 100  # A sheet of more is not looked at.
_SCORE = "anomaly_score"
_HAS_SHEET = "sheet"  # Of the note.


def check_sheet(output: pathlib.Path) -> None:
    """Raises `BatchError` if a sheet of `output` would overwrite what is not one."""
    path = top_path(output)
    if path.exists() and not read_note(output).get(_HAS_SHEET):
        raise BatchError(
            f"`output` must leave what is there; {str(path)!r} would become its sheet, and is of "
            "something else. Move it, or name another output."
        )


def draw_top(job: Job, count: int) -> pathlib.Path | None:
    """Draws the `count` most and least unusual images of a finished job; None = no row has a score.

    By `anomaly_score`; where that is the same, as far out where it is 1 to the last digit, by the score
    that it is made of. No image is drawn twice.

    Raises:
        BatchError: an image is not what it was.
        SaveError: the file system refuses.
    """
    first, last = _ranked(job, count)
    if not first:
        return None
    indices = sorted({index for index, *_ in (*first, *last)})
    images = np.stack([_image(job, index) for index in indices])
    batches = np.array_split(images, -(-len(images) // job.batch_size))
    maps = np.concatenate([job.scorer.heat_map(part) for part in batches])
    of_index = {index: place for place, index in enumerate(indices)}

    def drawn(title: str, found: _Found) -> RankedImages:
        places = [of_index[index] for index, *_ in found]
        captions = [(name, f"{score:.3g}") for _, name, score in found]
        return RankedImages(title, images[places], maps[places], captions)

    groups = [drawn("Most unusual images", first)]
    if last:
        groups.append(drawn("Least unusual images", last))
    path = top_path(job.output)
    write_json(note_path(job.output), {**read_note(job.output), _HAS_SHEET: True})
    with written_whole(path) as temporary:
        save_ranked_images(temporary, groups, "anomaly score")
    return path


_Found = list[tuple[int, str, float]]


def _ranked(job: Job, count: int) -> tuple[_Found, _Found]:
    """Index, name and score of the most unusual rows and of the least, most and least first."""
    by, unusual = job.scorer.ranked_by
    sign = 1 if unusual == "high" else -1

    def rows() -> Iterable[tuple[tuple[float, float, int], str]]:
        table = job.table.read(job.output, [NAME, _SCORE, by, ERROR])
        for index, (name, score, value, error) in enumerate(table):
            if not error:
                yield (score, sign * value, -index), name

    most = heapq.nlargest(count, rows())
    least = [row for row in heapq.nsmallest(count, rows()) if row not in most]
    return _named(most), _named(least)


def _named(found: Iterable[tuple[tuple[float, float, int], str]]) -> _Found:
    return [(-place, name, score) for (score, _, place), name in found]


def _image(job: Job, index: int) -> np.ndarray:
    row = next(job.rows.read(index))
    try:
        return job.pictures.image(row.content)
    except ImageFileError as error:
        raise BatchError(
            f"`input` must be as it was scored; {row.name!r} is not: it {error}"
        ) from error
