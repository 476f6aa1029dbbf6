"""What is recorded as the command is what was typed."""

import sys

import pytest

from lcma_tf.serving.client import score
from lcma_tf.typed import typed_command, typed_program


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("/usr/local/bin/lcma-train", "lcma-train"),
        ("lcma-train.exe", "lcma-train"),
        ("/home/somebody/lcma_tf/lcma_tf/train.py", "python -m lcma_tf.train"),
        ("-c", "python -m lcma_tf.train"),
    ],
)
def test_the_program_is_a_script_or_a_module(monkeypatch, program, typed):
    monkeypatch.setattr(sys, "argv", [program, "--dataset=npz:my data.npz", "--flip"])
    assert typed_program("lcma_tf.train") == typed
    assert typed_command("lcma_tf.train") == f"{typed} '--dataset=npz:my data.npz' --flip"


@pytest.mark.parametrize(
    ("program", "typed"),
    [("/usr/bin/lcma-score", "lcma-score"), ("score.py", "python -m export.score")],
)
def test_usage_names_the_command_that_was_typed(monkeypatch, capsys, program, typed):
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit):
        score.main(["--help"])
    assert capsys.readouterr().out.startswith(f"usage: {typed} [-h]")
