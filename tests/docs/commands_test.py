"""Every command of the documents: its program is known, its flags parse, the files that it names exist.

Flags are read by the program itself, as far as its own check of them; what would take long goes no
further. The short commands on a finished run, and those that ask a server, are run.
"""

import importlib
import itertools
import os
import re
import shutil
import tomllib

import pytest
from absl import app, flags
from PIL import Image

import commands
import scored_runs
import served_cases
from documents import PAGES, ROOT
from documents import commands as commands_of
from small_saved_model import MAX_BATCH_SIZE
from testing import random_images

ALL = [
    pytest.param(page, words, id=f"{page}:{line}")
    for page in PAGES
    for line, _, words in commands_of(page)
    if words
]
PYTHON = ("python", "python3", ".venv/bin/python")
# `python -m X` of others: what of their arguments names a file.
OTHERS = {"venv": (), "pytest": ("tests/",), "ruff": (), "mkdocs": (), "build": (), "pip": ()}
WITH_A_PARSER = {  # Ours, with argparse.
    "export.score": "lcma_tf.serving.client.score",
    "benchmarks.false_alarms": "benchmarks.false_alarms",
    "benchmarks.front": "benchmarks.front",
    "benchmarks.large_data": "benchmarks.large_data",
    "benchmarks.measure": "benchmarks.measure",
    "benchmarks.run": "benchmarks.run",
    "benchmarks.batch": "benchmarks.batch",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def parses(module, arguments, monkeypatch):
    """Whether the program takes these flags; it ends behind its check of them."""
    monkeypatch.chdir(ROOT)
    # absl looks at --only_check_args once a process: where a test before ran a command, it would run.
    for once in (app._run_init, app._register_and_parse_flags_with_usage):
        monkeypatch.setattr(once, "done", False)
    try:
        ended = commands.call(module, *arguments, "--only_check_args")
    finally:
        flags.FLAGS["only_check_args"].unparse()
    return ended.code == 0 or ended


def check_pip(words):
    assert words[0] == "install"
    for option, value in itertools.pairwise(words):
        if option == "-r":
            assert (ROOT / value).is_file()
    for extras in re.findall(r"\.\[([\w,]+)\]", " ".join(words)):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def check_paths(words):
    for word in words:
        path = word.partition("=")[2] or word
        if re.match(r"(tests|docs|configs|export|benchmarks|notebooks|lcma_tf)/", path):
            assert (ROOT / path).exists(), path


def check_module(module, arguments, monkeypatch):
    if module in OTHERS:
        if module == "pip":
            check_pip(arguments)
    elif module in WITH_A_PARSER:
        importlib.import_module(WITH_A_PARSER[module])._parser().parse_args(arguments)
    else:
        assert parses(module, arguments, monkeypatch) is True


def script_module(name):
    """The module of a console script of ours."""
    return PROJECT["scripts"][name].partition(":")[0]


@pytest.mark.parametrize(("page", "words"), ALL)
def test_a_command_is_one_that_there_is(page, words, monkeypatch):
    program, *rest = words
    check_paths(words)
    if program in PYTHON and rest[0] == "-m":
        check_module(rest[1], rest[2:], monkeypatch)
    elif program.startswith("lcma-"):
        check_module(script_module(program), rest, monkeypatch)
    elif program.endswith("pip"):
        check_pip(rest)
    elif program in ("bash", "tests/run.sh"):
        assert (ROOT / (rest[0] if program == "bash" else program)).is_file()
    else:  # `docker run` is compared with the files of the server by its own test.
        assert program in ("docker", "export"), words


def test_what_is_wrong_in_a_command_is_found(monkeypatch):
    monkeypatch.setattr(app._run_init, "done", True)  # As after any command in this process.
    for flag in ("--splitrule=lcma", "--split_rule=lcmb", "--flagfile=configs/none.flags"):
        assert parses("lcma_tf.train", ["--workdir=x", flag], monkeypatch) is not True
    assert parses("lcma_tf.train", ["--workdir=x", "--split_rule=lcma"], monkeypatch) is True
    with pytest.raises(AssertionError):
        check_paths(["--flagfile=configs/none.flags"])


def words_of(page, *beginning):
    """The one command of a page that begins so."""
    (words,) = [w for _, _, w in commands_of(page) if w[: len(beginning)] == list(beginning)]
    return words


def test_a_finished_run_is_evaluated_and_drawn(finished, tmp_path):
    run = shutil.copytree(finished.workdir, tmp_path / "run")
    for module in ("evaluate", "sample"):
        words = words_of("docs/runs.md", "python", "-m", f"lcma_tf.{module}")
        arguments = [word.replace("RUN", str(run)) for word in words[3:]]
        ended = commands.call(words[2], *arguments)
        assert ended.code == 0, ended.err
        assert ("bits/dim" in ended.out) == (module == "evaluate")
    assert (run / "drawn.png").is_file()


def test_a_folder_is_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = scored_runs.make_scored_run(tmp_path / "RUN")
    (tmp_path / "FOLDER").mkdir()
    for number, image in enumerate(scored_runs.smooth_images(3)):
        Image.fromarray(image).save(tmp_path / "FOLDER" / f"{number}.png")
    words = words_of("docs/scores.md", "python", "-m", "lcma_tf.score", "--workdir=RUN")
    ended = commands.call(words[2], *words[3:])
    assert ended.code == 0, ended.err
    assert run.is_dir() and {"scores.csv", "scores_top.png"} < {*os.listdir(tmp_path)}


@pytest.mark.parametrize(("verb", "made"), [("score", "scores.csv"), ("sample", "samples.png")])
def test_a_server_is_asked(verb, made, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER").mkdir()
    for number, image in enumerate(random_images(3, served_cases.SHAPE)):
        Image.fromarray(image).save(tmp_path / "FOLDER" / f"{number}.png")
    (words,) = [w for _, _, w in commands_of("docs/serving.md") if verb in w]
    arguments = [word.replace("localhost:8501", server) for word in words[3:]]
    ended = commands.call(words[2], f"--batch_size={MAX_BATCH_SIZE}", *arguments)
    assert ended.code == 0, ended.err
    assert (tmp_path / made).stat().st_size > 0
