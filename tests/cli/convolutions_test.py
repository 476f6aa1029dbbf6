"""Whose convolutions run: chosen where nobody has said it, before TensorFlow is there."""

import platform
import sys

import pytest

from lcma_tf.cli import convolutions

AVX2 = {"avx", "avx2", "fma", "sse4_1"}


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (AVX2, "1"),
        (AVX2 | {"avx512f", "avx512bw"}, "1"),
        (AVX2 | {"avx512f", "avx512_vnni"}, None),  # TensorFlow takes oneDNN's by itself.
        (AVX2 | {"avx_vnni"}, None),
        ({"avx", "sse4_1"}, None),
        (set(), None),  # Another system, or another kind of processor: nothing was measured.
    ],
)
def test_the_choice_of_a_processor(features, expected):
    assert convolutions.chosen(features) == expected


@pytest.fixture
def at_start(monkeypatch):
    """Before TensorFlow is imported, on a processor with AVX2."""
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(convolutions, "_features", lambda: AVX2)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "x")  # Whatever is set below is taken back.
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    return monkeypatch


def test_it_is_set_and_said(at_start, capsys):
    convolutions.choose_convolutions()
    assert convolutions.os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{convolutions.TOLD}\n")


def test_what_the_user_says_stays(at_start, capsys):
    at_start.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    convolutions.choose_convolutions()
    assert convolutions.os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert capsys.readouterr() == ("", "")


def test_it_is_too_late_once_tensorflow_is_there(at_start, capsys):
    at_start.setitem(sys.modules, "tensorflow", object())
    convolutions.choose_convolutions()
    assert "TF_ENABLE_ONEDNN_OPTS" not in convolutions.os.environ
    assert capsys.readouterr() == ("", "")


def test_features_are_read_where_there_are_any():
    found = convolutions._features()
    assert isinstance(found, set)
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert "sse2" in found
