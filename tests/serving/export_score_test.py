"""The command `python -m export.score`: its rows, errors and exit codes, what an interruption leaves."""

import csv
import io
import sys

import numpy as np
import pytest
from PIL import Image

import small_saved_model
from lcma_tf.serving.client import score
from lcma_tf.serving.client.client import Scores
from lcma_tf.serving.client.transport import ServingError
from served_cases import SHAPE, encode_file
from serving_stand_in import ServingStandIn
from testing import random_images

IMAGES = random_images(20, SHAPE)


@pytest.fixture
def stand_in(session):
    with ServingStandIn(session) as stand_in:
        yield stand_in


@pytest.fixture
def folder(tmp_path):
    """Twenty images, in two folders."""
    folder = tmp_path / "images"
    for i, image in enumerate(IMAGES):
        path = folder / f"{i % 2}" / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_file(image))
    return folder


ORDER = [*range(0, 20, 2), *range(1, 20, 2)]


def run(stand_in, *argv):
    return score.main(
        [f"--address={stand_in.rest_address}", "--model=flow", "--batch_size=8", *map(str, argv)]
    )


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("encoded", [[], ["--encoded"]])
def test_a_folder_is_scored_in_order(stand_in, folder, tmp_path, encoded):
    assert run(stand_in, "score", folder, f"--csv={tmp_path / 'scores.csv'}", *encoded) == 0
    rows = read(tmp_path / "scores.csv")
    assert [row["file"] for row in rows] == [f"{i % 2}/{i:02d}.png" for i in ORDER]
    images = IMAGES[ORDER]
    found = np.array([[row["log_prob"], row["bits_per_dim"]] for row in rows], np.float32)
    np.testing.assert_array_equal(found[:, 0], small_saved_model.expected_log_prob(images))
    np.testing.assert_array_equal(found[:, 1], small_saved_model.expected_bits_per_dim(images))
    assert stand_in.requests == [("log_prob_encoded", rows) for rows in (8, 8, 4)]
    assert not any(row["error"] for row in rows)


def test_scores_go_to_standard_output(stand_in, folder, capsys):
    assert run(stand_in, "score", folder / "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file,log_prob,bits_per_dim,error"
    nats = small_saved_model.expected_log_prob(IMAGES[:1])[0]
    assert lines[1] == f"00.png,{nats},{-nats / 16},"


def test_a_file_without_a_score_gets_an_error_and_the_others_are_scored(
    stand_in, folder, tmp_path, capsys
):
    (folder / "0" / "00.png").write_bytes(encode_file(random_images(1, (6, 4, 3))[0]))
    (folder / "0" / "02.png").write_bytes(b"no picture")
    torn = (folder / "0" / "04.png").read_bytes()[:-40]
    (folder / "0" / "04.png").write_bytes(torn)
    (folder / "1" / "01.png").unlink()
    (folder / "1" / "01.png").symlink_to(folder / "1" / "03.png")
    (folder / "2.png").symlink_to(folder / "nowhere")  # No file, so not one of them.
    assert run(stand_in, "score", folder, f"--csv={tmp_path / 'scores.csv'}") == 1
    assert "error: 3 of 20 files have no score" in capsys.readouterr().err
    rows = {row["file"]: row for row in read(tmp_path / "scores.csv")}
    assert "must be 6 x 4 pixels; it is 4 x 6" in rows["0/00.png"]["error"]
    assert "must be a PNG or a JPEG" in rows["0/02.png"]["error"]
    assert "INVALID_ARGUMENT: " in rows["0/04.png"]["error"]
    assert sum(row["log_prob"] != "" and row["error"] == "" for row in rows.values()) == 17
    # What looks torn is asked for by itself, and once more, as the server may have merged it.
    assert [rows_ for _, rows_ in stand_in.requests] == [5, 1, 1, 8, 4]


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied"), OSError(5, "I/O error")]
)
def test_a_file_that_cannot_be_read_is_a_row(stand_in, folder, tmp_path, monkeypatch, error):
    opened = open

    def refusing(path, *arguments, **settings):
        if str(path).endswith("03.png"):
            raise error
        return opened(path, *arguments, **settings)

    monkeypatch.setattr("builtins.open", refusing)
    assert run(stand_in, "score", folder, f"--csv={tmp_path / 'scores.csv'}") == 1
    rows = {row["file"]: row for row in read(tmp_path / "scores.csv")}
    assert rows.pop("1/03.png")["error"] == error.strerror
    assert len(rows) == 19 and all(row["log_prob"] for row in rows.values())


def test_a_file_too_large_for_a_request_is_a_row_and_is_not_read(stand_in, folder, tmp_path):
    with open(folder / "0" / "00.png", "ab") as file:
        file.truncate(2**40)
    assert run(stand_in, "score", folder, f"--csv={tmp_path / 'scores.csv'}") == 1
    first, *others = read(tmp_path / "scores.csv")
    assert "must have at most" in first["error"]
    assert all(row["log_prob"] for row in others)


class PickyClient:
    """Scores a file by its first pixel; refuses a request that holds one of `refused`."""

    image_shape = SHAPE
    max_file_bytes = 10_000

    def __init__(self, refused=(), status="INVALID_ARGUMENT", interrupt_at=None):
        self.refused, self.status, self.interrupt_at = refused, status, interrupt_at
        self.sizes = []
        self.when_asked = lambda: None

    def score_encoded(self, files):
        self.when_asked()
        images = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
        self.sizes.append(len(images))
        if len(self.sizes) == self.interrupt_at:
            raise KeyboardInterrupt
        first = images[:, 0, 0, 0].astype(np.float32)
        for image in images:
            if any(np.array_equal(image, IMAGES[i]) for i in self.refused):
                raise ServingError(self.status, "the server's\nwords")
        return Scores(first, first)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_rows_that_the_server_refuses_are_found_by_halves(folder):
    client = PickyClient(refused=(4, 5))
    paths = [folder / f"{i % 2}" / f"{i:02d}.png" for i in range(16)]
    rows = score.score_files(client, paths)
    for i, (nats, bits, error) in enumerate(rows):
        if i in (4, 5):
            assert (nats, bits, error) == ("", "", "INVALID_ARGUMENT: the server's words")
        else:
            assert (nats, bits, error) == (f"{IMAGES[i, 0, 0, 0]}.0",) * 2 + ("",)
    assert client.sizes == [16, 8, 4, 4, 2, 1, 1, 2, 8]


def test_a_score_that_is_not_finite_is_an_error(folder):
    class Infinite(PickyClient):
        def score_encoded(self, files):
            return Scores(*np.full((2, len(files)), np.inf, np.float32))

    rows = score.score_files(Infinite(), [folder / "0" / "00.png"])
    assert rows == [("", "", "its score is not finite")]


@pytest.mark.parametrize(
    ("client", "code", "words"),
    [
        (PickyClient(interrupt_at=2), 130, "Interrupted. What was written is kept."),
        (PickyClient(refused=(17,), status="UNAVAILABLE"), 1, "error: UNAVAILABLE: the server's w"),
    ],
)
def test_rows_so_far_are_kept(folder, tmp_path, monkeypatch, capsys, client, code, words):
    """At an interruption and when the server goes away."""
    monkeypatch.setattr(score, "ServingClient", lambda *_, **__: client)
    path = tmp_path / "scores.csv"
    on_disk = []
    client.when_asked = lambda: on_disk.append(len(read(path)))
    argv = ["--address=h:1", "--model=m", "--batch_size=8", "score", str(folder), f"--csv={path}"]
    assert score.main(argv) == code
    assert words in capsys.readouterr().err
    assert len(read(path)) == (8 if code == 130 else 16)
    assert on_disk == [0, 8, 16][: len(on_disk)]  # Before the end of the process, however it ends.


def test_samples_are_drawn_into_a_grid(stand_in, tmp_path, capsys):
    path = tmp_path / "samples.png"
    argv = ["sample", "--num=9", "--seed=4", "--temperature=0.5", f"--output={path}"]
    assert run(stand_in, *argv) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert stand_in.requests == [("sample", 8), ("sample", 1)]
    with Image.open(path) as image:
        pixels = np.asarray(image)
    seeds = np.stack([np.full(9, 4), np.arange(9)], axis=1)
    expected = small_saved_model.expected_samples(seeds, np.full(9, 0.5, np.float32), SHAPE)
    colours = {tuple(colour) for colour in pixels.reshape(-1, 3)}
    assert {tuple(colour) for colour in expected.reshape(-1, 3)} <= colours


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["score", "nowhere"], "`folder` must be an existing folder; got 'nowhere'"),
        (["sample", "--temperature=3"], "`temperature` must be between 0 and 2; got 3.0"),
        (["sample", "--num=0"], "`num` must be between 1"),
        (["sample", "--output=nowhere/a.png"], "`output` must be a file in an existing folder"),
        (["--model=other", "sample"], "NOT_FOUND: Servable not found"),
        (["--timeout=0", "sample"], "`timeout` must be above 0"),
        (["--batch_size=0", "sample"], "`max_batch_size` must be at least 1"),
        (["--address=nowhere:port", "sample"], "`address` must be host:port"),
    ],
)
def test_mistakes_end_in_one_sentence(stand_in, tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert run(stand_in, *argv) == 1
    ended = capsys.readouterr()
    assert ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert message in ended.err
    assert not stand_in.requests and not ended.out


def test_a_wrong_model_leaves_earlier_scores_alone(stand_in, folder, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("earlier")
    assert run(stand_in, "--model=other", "score", folder, f"--csv={path}") == 1
    assert path.read_text() == "earlier"


def test_grpc_without_its_package_says_what_to_install(stand_in, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    assert run(stand_in, "--protocol=grpc", "sample") == 1
    assert "pip install grpcio tensorflow-serving-api" in capsys.readouterr().err


def test_a_progress_bar_is_for_people_alone(monkeypatch, capsys):
    score._show_progress(5, 10)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    score._show_progress(5, 10)
    score._show_progress(10, 10)
    half, whole = capsys.readouterr().err.split("\r")[1:]
    assert half == f"[{'#' * 15}{' ' * 15}] 5 of 10 files"
    assert whole == f"[{'#' * 30}] 10 of 10 files\n"
