"""Whether a file can be written is known before it is, and asking leaves nothing."""

import pytest

from lcma_tf.files.saving import refusal_to_write


@pytest.mark.parametrize("name", ["new.csv", "there.csv", "none/below/new.csv"])
def test_nothing_speaks_against_a_file_where_files_can_be(tmp_path, name):
    (tmp_path / "there.csv").write_text("as it was")
    assert refusal_to_write(tmp_path / name) is None
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert (tmp_path / "there.csv").read_text() == "as it was"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/proc/new.csv", "No such file or directory"),
        ("/proc/none/new.csv", "No such file or directory"),
        ("there.csv/new.csv", "Not a directory"),
        ("n" * 250, "File name too long"),  # Beside it, with what is not yet whole.
    ],
)
def test_the_file_system_says_what_speaks_against_it(tmp_path, name, words):
    (tmp_path / "there.csv").write_text("as it was")
    assert refusal_to_write(tmp_path / name) == words
