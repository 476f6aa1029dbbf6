"""What is said of an error does not stand on the line of a progress bar."""

import keras
import pytest

from lcma_tf.cli.open_line import open_line_ended


def test_an_error_ends_the_line_of_a_bar(capsys):
    with pytest.raises(ValueError), open_line_ended():
        keras.utils.Progbar(9).add(3)
        raise ValueError
    assert capsys.readouterr().out.endswith("\n")


@pytest.mark.parametrize("written", ["", "a line\n"])
def test_nothing_is_added_to_lines_that_are_ended(written, capsys):
    with pytest.raises(ValueError), open_line_ended():
        print(written, end="")
        raise ValueError
    assert capsys.readouterr().out == written


def test_nor_where_there_is_no_error(capsys):
    with open_line_ended():
        print("a bar", end="", flush=True)
    assert capsys.readouterr().out == "a bar"
