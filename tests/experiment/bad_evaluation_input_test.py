"""Evaluation and sampling refuse senseless flags and unfinished runs, and leave the disk as it was."""

import pytest

import commands
import lcma_tf
from lcma_tf.experiment.workdir import Workdir

# Main, flags instead of `--workdir={}/started` -> what the message must hold.
BAD_EVALUATION = [
    (
        "evaluate",
        {"workdir": "{}/none"},
        "`workdir` must hold a run; there is no /none'.",
    ),
    ("evaluate", {"workdir": "{}/foreign"}, "`workdir` must be a run's config.json /foreign"),
    ("evaluate", {}, "`workdir` must hold a finished run model.keras /started"),
    (
        "evaluate",
        {"num_importance_samples": 0},
        "`num_importance_samples` must be at least 1; got 0",
    ),
    ("evaluate", {"batch_size": 0}, "`batch_size` must be at least 1; got 0."),
    ("evaluate", {"batch_size": 2**31}, f"`batch_size` must be at most {2**31 - 1}; got {2**31}."),
    (
        "evaluate",
        {"num_importance_samples": 10**9},
        "`num_importance_samples` must be at most 1000000; got 1000000000.",
    ),
    ("evaluate", {"intra_op_threads": 10**6}, "--intra_op_threads=1000000 in range [1, 1024]"),
    ("sample", {"output": "drawn.jpg"}, "`output` must be a file that ends in .png; got drawn.jpg"),
    (
        "evaluate",
        {"split": "tests"},
        "--split=tests: value should be one of <train|validation|test>",
    ),
    ("evaluate", {"seed": -1}, "--seed=-1 range [0,"),
    ("evaluate", {"image_size": 0}, "`image_size` must be at least 1; got 0."),
    (
        "evaluate",
        {"scores_csv": "{}/none/a.csv"},
        "`scores_csv` must be a file in an existing folder /none/a.csv",
    ),
    ("evaluate", {"scores_csv": "{}/foreign"}, "`scores_csv` must be a file /foreign"),
    (
        "evaluate",
        {"scores_csv": "/proc/a.csv"},
        "`scores_csv` must be a file that can be written (No such file or directory) '/proc/a.csv'.",
    ),
    ("sample", {"workdir": "{}/none"}, "`workdir` must hold a run; there is no /none'."),
    ("sample", {}, "`workdir` must hold a finished run model.keras /started"),
    (
        "sample",
        {"workdir": "{}/torn"},
        "`workdir` must hold a finished run whole model.keras /torn",
    ),
    ("sample", {"temperature": -1}, "`temperature` must be between 0 and 2; got -1.0."),
    ("sample", {"temperature": 1e30}, "`temperature` must be between 0 and 2; got 1e+30."),
    ("sample", {"temperature": "nan"}, "`temperature` must be between 0 and 2; got nan."),
    ("sample", {"num_samples": 0}, "`num_samples` must be at least 1; got 0."),
    ("sample", {"kind": "interpolation", "steps": 1}, "`steps` must be at least 2; got 1."),
    ("sample", {"num_samples": 1025}, "`num_samples` must be at most 1024; got 1025."),
    ("sample", {"kind": "interpolation", "steps": 171}, "`steps` must be at most 170; got 171."),
    (
        "sample",
        {"kind": "interpolation", "num_samples": 513},
        "`num_samples` must be at most 512; got 513.",
    ),
    (
        "sample",
        {"kind": "interpolation", "num_samples": 256, "steps": 5},
        "`steps` must be at most 4; got 5.",
    ),
    (
        "sample",
        {"output": "{}/none/a.png"},
        "`output` must be a file in an existing folder /none/a.png",
    ),
    ("sample", {"output": "{}/foreign"}, "`output` must be a file in an existing folder /foreign"),
    (
        "sample",
        {"output": "/proc/a.png"},
        "`output` must be a file that can be written /proc/a.png",
    ),
    ("sample", {"output": f"{'a' * 250}.png"}, "`output` can be written (File name too long)"),
    ("sample", {"seed": 2**40}, f"--seed={2**40} range [0,"),
]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder of workdirs that no finished run left."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "foreign").mkdir()
    (folder / "foreign" / "letter.txt").write_text("Dear reader,")
    for name in ("started", "torn"):
        Workdir(folder / name).claim(lcma_tf.FlowConfig(), lcma_tf.TrainConfig())
    (folder / "torn" / "model.keras").write_bytes(b"PK\3\4")
    return folder


@pytest.mark.parametrize(("main", "changes", "words"), BAD_EVALUATION)
def test_it_is_refused(inputs, main, changes, words):
    before = commands.files(inputs)
    values = {"workdir": "{}/started", **changes}
    ended = commands.call(f"lcma_tf.{main}", *commands.flags_in(inputs, values))
    commands.assert_refused(ended, words)
    assert commands.files(inputs) == before


def test_a_run_that_cannot_be_written_to_is_not_calibrated(inputs, monkeypatch):
    monkeypatch.setattr(
        "lcma_tf.experiment.workdir.refusal_to_write", lambda path: "Read-only file system"
    )
    ended = commands.call("lcma_tf.calibrate", *commands.flags_in(inputs, {"workdir": "{}/torn"}))
    commands.assert_refused(ended, "`workdir` written to /torn Read-only file system.")
