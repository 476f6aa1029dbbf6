"""A table of scores, whatever happens on the way: no row lost, none twice, the same bytes in the end.

Scores are those of a stand-in, a function of pixels and of their place in the batch, so that rows which
were scored in other batches would be seen.
"""

import csv
import json
import pathlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lcma_tf.batch.batches import AHEAD
from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.output_files import top_path
from lcma_tf.batch.rows import Row
from lcma_tf.batch.score import Job, Summary
from lcma_tf.batch.scorer import Scorer
from lcma_tf.batch.top import check_sheet, draw_top
from lcma_tf.files.folder_lock import folder_lock
from lcma_tf.image_files import ImageFileError
from testing import random_images

SHAPE = (4, 4, 3)
COUNT, BATCH = 23, 5
IMAGES = random_images(COUNT, SHAPE)
BAD = {3, 10, 11, 12, 13, 14, 22}  # The third batch has no image at all.
ODD_NAMES = {0: 'comma, "quote"', 1: "line\nand\rline", 2: "byte \udcff", 4: "Ünï"}


class ListOfRows:
    """Rows in memory, which tells of each that is read."""

    note = ""

    def __init__(self, digest="mine", images=IMAGES, tell=lambda index: None):
        self.digest, self._images, self._tell = digest, images, tell

    def __len__(self):
        return len(self._images)

    def read(self, start):
        for index in range(start, len(self)):
            self._tell(index)
            bad = ImageFileError(f"must be, of\n{index}, good")
            yield Row(
                ODD_NAMES.get(index, f"{index}"), bad if index in BAD else self._images[index]
            )


def stand_in_scores(images):
    score = images.mean(axis=(1, 2, 3), dtype=np.float32) / 256 + np.float32(1e-3)
    place = np.arange(len(images), dtype=np.float32) + len(images)
    return {"anomaly_score": score, "raw": place / 3, "is_anomaly": score > 0.5}


def scorer(scores=stand_in_scores, **asked):
    def heat_map(images):
        return images.mean(axis=-1, dtype=np.float32) - 128

    columns = {"anomaly_score": float, "raw": float, "is_anomaly": bool}
    asked = {"flow": "mine", **asked}
    return Scorer(scores, heat_map, columns, SHAPE, SHAPE, asked, ("raw", "low"))


def job(folder, name="scores.csv", rows=None, scores=stand_in_scores, **asked):
    rows = ListOfRows() if rows is None else rows
    return Job(rows, scorer(scores, **asked), folder / name, batch_size=BATCH)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert job(folder).run(verbose=False) == Summary(COUNT - len(BAD), len(BAD), was_there=False)
    return folder


def test_every_row_is_there_in_order(unbroken):
    assert {path.name for path in unbroken.iterdir()} == {"scores.csv", "scores.csv.json"}
    with open(unbroken / "scores.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == ["name", "anomaly_score", "raw", "is_anomaly", "error"]
    names = [row["name"] for row in rows]
    assert names[:5] == ['comma, "quote"', r"line\nand\rline", r"byte \xff", "3", "Ünï"]
    assert names[5:] == [f"{index}" for index in range(5, COUNT)]
    assert {index for index, row in enumerate(rows) if row["error"]} == BAD
    for start in range(0, COUNT, BATCH):
        good = [i for i in range(start, min(start + BATCH, COUNT)) if i not in BAD]
        expected = stand_in_scores(IMAGES[good]) if good else {}
        for place, index in enumerate(good):
            for name, column in expected.items():
                found = rows[index][name]
                assert found == str(column[place]), (index, name)
    for index in BAD:
        assert rows[index]["raw"] == rows[index]["is_anomaly"] == ""
        assert rows[index]["error"] == rf"must be, of\n{index}, good"


def assert_same(folder, unbroken):
    for name in ("scores.csv", "scores.csv.json"):
        assert (folder / name).read_bytes() == (unbroken / name).read_bytes()
    assert {path.name for path in folder.iterdir()} == {"scores.csv", "scores.csv.json"}


class Killed(BaseException):
    """What no handler of ours expects."""


@pytest.mark.parametrize("number", range(4))
def test_stopped_in_a_batch_it_goes_on(number, tmp_path, unbroken):
    asked = []

    def dies(images):
        asked.append(len(images))
        if len(asked) == number + 1:
            raise Killed
        return stand_in_scores(images)

    with pytest.raises(Killed):
        job(tmp_path, scores=dies).run(verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv.partial"]
    read = []
    rows = ListOfRows(tell=read.append)
    found = job(tmp_path, rows=rows).run(verbose=False)
    assert found == Summary(COUNT - len(BAD), len(BAD), was_there=False)
    assert read[0] == BATCH * [0, 1, 3, 4][number]  # The third has nothing to score.
    assert_same(tmp_path, unbroken)


@pytest.fixture(scope="module")
def whole_partial(tmp_path_factory):
    """What is there when all rows are, and no output yet."""
    folder = tmp_path_factory.mktemp("partial")
    one = job(folder)
    one.table.write = lambda *_: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        one.run(verbose=False)
    return (folder / "scores.csv.partial").read_bytes()


def test_cut_off_at_any_byte_it_goes_on(tmp_path, unbroken, whole_partial, at_length):
    lengths = range(0, len(whole_partial) + 1, at_length(23, 1))
    for length in {*lengths, len(whole_partial) - 1, len(whole_partial)}:
        folder = tmp_path / f"{length}"
        folder.mkdir()
        (folder / "scores.csv.partial").write_bytes(whole_partial[:length])
        (folder / "unfinished_scores.csv").write_bytes(b"torn")
        job(folder).run(verbose=False)
        assert_same(folder, unbroken)
        shutil.rmtree(folder)


@pytest.mark.parametrize("garbage", [b"\0" * 50 + b"\n", b"6,1,1\n", b"\xff\xfe\n", b'"\n'])
def test_what_a_loss_of_power_leaves_is_cut_off(garbage, tmp_path, unbroken, whole_partial):
    lines = whole_partial.splitlines(keepends=True)
    (tmp_path / "scores.csv.partial").write_bytes(b"".join([*lines[:12], garbage, *lines[12:]]))
    job(tmp_path).run(verbose=False)
    assert_same(tmp_path, unbroken)


def test_killed_between_its_last_files_it_ends(tmp_path, unbroken, whole_partial):
    """The note is written first, then the output, then the rows are removed."""
    shutil.copytree(unbroken, tmp_path, dirs_exist_ok=True)
    (tmp_path / "scores.csv.partial").write_bytes(whole_partial)
    assert job(tmp_path).run(verbose=False).was_there
    assert_same(tmp_path, unbroken)
    (tmp_path / "scores.csv").rename(tmp_path / "unfinished_scores.csv")
    (tmp_path / "scores.csv.partial").write_bytes(whole_partial)
    assert not job(tmp_path).run(verbose=False).was_there
    assert_same(tmp_path, unbroken)


def test_a_complete_output_is_left_alone(tmp_path, unbroken):
    shutil.copytree(unbroken, tmp_path, dirs_exist_ok=True)

    def never(images):
        raise AssertionError

    found = job(tmp_path, scores=never).run(verbose=False)
    assert found == Summary(COUNT - len(BAD), len(BAD), was_there=True)
    assert_same(tmp_path, unbroken)


OTHERS = {
    "input": {"rows": ListOfRows("another")},
    "rows": {"rows": ListOfRows(images=IMAGES[:-1])},
    "flow": {"flow": "another"},
    "false_alarm_rate": {"false_alarm_rate": 0.1},
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("is_finished", [True, False])
def test_an_output_of_another_is_refused_and_kept(
    name, is_finished, tmp_path, unbroken, whole_partial
):
    if is_finished:
        shutil.copytree(unbroken, tmp_path, dirs_exist_ok=True)
    else:
        (tmp_path / "scores.csv.partial").write_bytes(whole_partial)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BatchError, match=f"`output` must be new, or .* another {name}. Delete it"):
        job(tmp_path, **OTHERS[name]).run(verbose=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["scores.csv", "scores.csv.partial"])
def test_a_file_of_somebody_else_is_refused_and_kept(name, tmp_path):
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(BatchError, match="`output` must be new"):
        job(tmp_path).run(verbose=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine\n"


def test_one_process_at_a_time(tmp_path):
    taken, refused = folder_lock(tmp_path / "scores.csv.partial"), pytest.raises(BatchError)
    with taken, refused as caught:
        job(tmp_path).run(verbose=False)
    assert "another process is at work on" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scores.txt", "must end in .csv or .parquet"),
        ("scores", "must end in .csv or .parquet"),
        ("none/scores.csv", "in an existing folder"),
        ("/proc/scores.csv", "a file that can be written .*; got '/proc/scores.csv'"),
    ],
)
def test_an_output_that_cannot_be_is_refused(name, words, tmp_path):
    with pytest.raises(BatchError, match=words):
        job(tmp_path, name)


def test_a_resize_to_no_square_is_refused(tmp_path):
    wide = Scorer(stand_in_scores, None, {}, (4, 8, 3), (4, 8, 3), {}, ("raw", "low"))
    with pytest.raises(BatchError, match="no squares; got 'area' for a flow of 8 x 4 pixels"):
        Job(ListOfRows(), wide, tmp_path / "scores.csv", resize="area")


def test_parquet_says_the_same(tmp_path, unbroken):
    job(tmp_path, "scores.parquet").run(verbose=False)
    table = pq.read_table(tmp_path / "scores.parquet")
    kinds = [f"{kind}" for kind in table.schema.types]
    assert kinds == ["string", "float", "float", "bool", "string"]
    with open(unbroken / "scores.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, other in zip(rows, table.to_pylist(), strict=True):
        for name, text in row.items():
            value = other[name]
            if name in ("name", "error"):
                assert value == text
            elif value is None:
                assert text == ""
            else:
                assert text == str(value if name == "is_anomaly" else np.float32(value))


def test_scores_that_are_not_finite_are_an_error(tmp_path):
    def broken(images):
        found = stand_in_scores(images)
        found["raw"][-1] = np.nan
        return found

    found = job(tmp_path, rows=ListOfRows(images=IMAGES[:2]), scores=broken).run(verbose=False)
    assert (found.scored, found.failed) == (1, 1)
    last = (tmp_path / "scores.csv").read_text().splitlines()[-1]
    assert last == r"line\nand\rline,,,,its scores are not finite"


def test_an_input_that_changes_ends_it(tmp_path):
    rows = ListOfRows()
    rows.__class__ = type("Shrinks", (ListOfRows,), {"read": lambda self, start: iter(())})
    with pytest.raises(BatchError, match="it had 23 rows, now 0"):
        job(tmp_path, rows=rows).run(verbose=False)
    assert not (tmp_path / "scores.csv").exists()


def test_a_few_batches_are_alive(tmp_path):
    # Those held to be decoded, one that is scored, and one whose lines are written.
    images = np.zeros((40 * BATCH, *SHAPE), np.uint8)
    read, ahead, scored = [], [], [0]

    def counted(batch):
        ahead.append(len(read) - scored[0])
        scored[0] += BATCH  # With those that have no image.
        return stand_in_scores(batch)

    rows = ListOfRows(images=images, tell=read.append)
    job(tmp_path, rows=rows, scores=counted).run(verbose=False)
    assert len(read) == len(images) and max(ahead) <= (AHEAD + 3) * BATCH


def test_the_sheet_is_of_the_ends_of_the_table(tmp_path, monkeypatch):
    one = job(tmp_path)
    one.run(verbose=False)
    drawn = []
    save = "lcma_tf.batch.top.save_ranked_images"
    monkeypatch.setattr(save, lambda path, groups, _: (drawn.extend(groups), path.touch()))
    good = [index for index in range(COUNT) if index not in BAD]
    order = sorted(good, key=lambda index: -IMAGES[index].mean())
    for count in (3, 12):
        drawn.clear()
        assert draw_top(one, count) == top_path(tmp_path / "scores.csv")
        first, last = drawn
        least = order[::-1][: min(count, len(good) - count)]
        np.testing.assert_array_equal(first.images, IMAGES[order[:count]])
        np.testing.assert_array_equal(last.images, IMAGES[least])
        maps = IMAGES[least].mean(axis=-1, dtype=np.float32) - 128
        np.testing.assert_array_equal(last.heat_maps, maps)
        assert first.captions[0][1] == f"{stand_in_scores(first.images)['anomaly_score'][0]:.3g}"


def test_equal_scores_are_ranked_by_what_they_are_made_of(tmp_path, monkeypatch):
    def saturated(images):
        found = stand_in_scores(images)
        return {**found, "anomaly_score": np.ones_like(found["raw"]), "raw": found["raw"] * 0 + 2}

    one = job(tmp_path, rows=ListOfRows(images=IMAGES[:3]), scores=saturated)
    one.run(verbose=False)
    names = []
    save = "lcma_tf.batch.top.save_ranked_images"
    monkeypatch.setattr(
        save,
        lambda path, groups, _: (names.extend(g.captions[0][0] for g in groups), path.touch()),
    )
    draw_top(one, 1)
    assert names == [ODD_NAMES[0], r"byte \xff"]  # All the same: the first, and the last.


def test_no_score_no_sheet(tmp_path):
    one = job(tmp_path, rows=ListOfRows(images=IMAGES[:0]))
    one.run(verbose=False)
    assert draw_top(one, 3) is None and not top_path(one.output).exists()


def test_the_sheet_is_a_picture(tmp_path):
    one = job(tmp_path, "scores.parquet")
    one.run(verbose=False)
    with Image.open(draw_top(one, 3)) as picture:
        assert picture.format == "PNG" and picture.width > 500
    assert json.loads(pathlib.Path(f"{one.output}.json").read_text())["scored"] == 16


def test_an_output_that_was_changed_is_refused(tmp_path):
    one = job(tmp_path)
    one.run(verbose=False)
    one.output.write_text("name\n")
    with pytest.raises(BatchError, match="must be as it was written; .* was changed since"):
        one.run(verbose=False)


@pytest.mark.parametrize("digest", [None, "none"])
def test_a_note_without_a_digest_is_one(digest, tmp_path):
    # A kill came before it was noted, or it is of an earlier version.
    one = job(tmp_path)
    first = one.run(verbose=False)
    note = pathlib.Path(f"{one.output}.json")
    known = json.loads(note.read_text())
    assert len(known.pop("digest")) == 64
    note.write_text(json.dumps({**known, "digest": digest} if digest else known))
    if digest:
        with pytest.raises(BatchError, match="was changed since"):
            one.run(verbose=False)
    else:
        assert one.run(verbose=False) == first._replace(was_there=True)


@pytest.mark.parametrize("text", ["{}", "[1]", "Dear reader,"])
def test_a_file_that_is_no_note_is_left_alone(text, tmp_path):
    mine = tmp_path / "scores.csv.json"
    mine.write_text(text)
    with pytest.raises(BatchError, match=r"scores.csv.json' would become its note, and is none"):
        job(tmp_path).run(verbose=False)
    assert mine.read_text() == text and not (tmp_path / "scores.csv").exists()


def test_a_picture_that_is_no_sheet_of_it_is_left_alone(tmp_path):
    one = job(tmp_path)
    one.run(verbose=False)
    check_sheet(one.output)
    path = draw_top(one, 3)
    check_sheet(one.output)
    with pytest.raises(BatchError, match=r"scores_top.png' would become its sheet"):
        check_sheet(one.output.with_suffix(".parquet"))
    assert path.exists()
