"""Killed in each phase, then the same command: the run ends as if nothing had happened.

One workdir is stopped again and again, each time by a signal to the process while that phase is at
work, then finished and compared with an unbroken run. Nothing is staged but one torn file.
"""

import json
import signal

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.experiment.workdir import Workdir


class BrokenRun:
    """A command that is stopped and given again; for each stop how it ended and what files it left."""

    def __init__(self, folder):
        self.workdir = Workdir(folder / "workdir")
        dataset = commands.write_npz(folder / "images.npz")
        flags = commands.as_flags(dataset=dataset, workdir=self.workdir.path, **commands.TINY)
        self._argv = ["lcma_tf.train", *flags]
        self.ended, self.left = {}, {}

    def stop(self, phase, happened, number=signal.SIGKILL):
        """Starts it and sends the signal as soon as `happened()`."""
        process = commands.Started(*self._argv)
        process.wait_until(happened)
        process.send_signal(number)
        self.ended[phase] = process.end()
        self.left[phase] = set(commands.files(self.workdir.path))

    def finish(self):
        self.ended["finished"] = commands.run(*self._argv)

    def backup(self, phase):
        return self.workdir.phase(phase) / "backup" / "latest.weights.h5"

    def num_epochs(self, phase):
        """How many epochs the history of a phase tells of, once there is a backup."""
        history = self.workdir.phase(phase) / "history.csv"
        return len(history.read_text().splitlines()) - 1 if self.backup(phase).exists() else 0


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    run = BrokenRun(tmp_path_factory.mktemp("broken"))
    run.stop("pretraining", lambda: run.num_epochs("pretrain") >= 2)
    contributions = run.workdir.phase("pretrain") / "model.keras"
    run.stop("contributions", contributions.exists, signal.SIGTERM)
    run.stop("training", lambda: run.num_epochs("train") >= 3)
    backup = run.backup("train")
    backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])  # As a kill in writing.
    run.stop("evaluation", run.workdir.model.exists, signal.SIGINT)
    run.finish()
    return run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return Workdir(commands.finished_run(tmp_path_factory).workdir)


@pytest.mark.parametrize(
    ("phase", "there", "not_yet"),
    [
        ("pretraining", "pretrain/backup/latest.weights.h5", "pretrain/model.keras"),
        ("contributions", "pretrain/model.keras", "contributions.npz"),
        ("training", "train/backup/latest.weights.h5", "model.keras"),
        ("evaluation", "model.keras", "metrics.json"),
    ],
)
def test_each_stop_fell_into_its_phase(broken, phase, there, not_yet):
    code = {"contributions": 143, "evaluation": 130}.get(phase, -signal.SIGKILL)
    assert broken.ended[phase].code == code, broken.ended[phase].err
    assert there in broken.left[phase] and not_yet not in broken.left[phase]


def test_each_start_goes_on_where_the_one_before_was(broken):
    out = {phase: ended.out for phase, ended in broken.ended.items()}
    assert "Epoch 1/4" in out["pretraining"]
    assert "Epoch 1/4" not in out["contributions"] and "Epoch 4/4" in out["contributions"]
    assert "Epoch 4/4" not in out["training"] and "Epoch 1/6" in out["training"]
    assert "Epoch 1/6" not in out["evaluation"] and "Epoch 6/6" in out["evaluation"]
    assert "Epoch" not in out["finished"]


@pytest.mark.parametrize(
    ("phase", "how"), [("contributions", "Terminated."), ("evaluation", "Interrupted.")]
)
def test_an_interruption_says_how_to_go_on(broken, phase, how):
    message = broken.ended[phase].err
    assert how in message and "Run the same command again to go on" in message
    assert "Traceback" not in message


def test_a_torn_backup_is_named(broken):
    (line,) = (line for line in broken.ended["evaluation"].out.splitlines() if "warning" in line)
    assert str(broken.backup("train")) in line and "goes on from the one before" in line


def test_it_ends_as_the_unbroken_run_does(broken, unbroken):
    assert broken.ended["finished"].code == 0, broken.ended["finished"].err
    ours, theirs = (json.loads(w.metrics.read_text()) for w in (broken.workdir, unbroken))
    for name in ("test_bits_per_dim", "validation_bits_per_dim"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4)
    assert ours["steps"] == theirs["steps"]
    ours, theirs = (lcma_tf.Factorization.load(w.factorization) for w in (broken.workdir, unbroken))
    assert ours == theirs


@pytest.mark.parametrize(("phase", "num_epochs"), [("pretrain", 4), ("train", 6)])
def test_the_history_has_each_epoch_once_and_is_the_same(broken, unbroken, phase, num_epochs):
    ours, theirs = (
        np.genfromtxt(w.phase(phase) / "history.csv", delimiter=",", names=True)
        for w in (broken.workdir, unbroken)
    )
    np.testing.assert_array_equal(ours["epoch"], np.arange(num_epochs))
    np.testing.assert_allclose(ours["val_bits_per_dim"], theirs["val_bits_per_dim"], rtol=1e-4)


def test_both_leave_the_same_files(broken, unbroken):
    ours, theirs = (
        {name for name in commands.files(w.path) if "events.out" not in name}
        for w in (broken.workdir, unbroken)
    )
    assert ours == theirs
