"""A run that is stopped at any moment goes on to the end of an unbroken one, bit for bit.

One run is recorded: before each change of a file its folder is copied, which is what a kill at that
moment leaves, the file that is being written cut in half. From every copy the state that comes back is
compared with the state that was there; from some, by `--long_faults` from all, the run is finished. Then
one run is stopped again and again inside writes, by errors and signals; and, as processes, by SIGKILL.
"""

import contextlib
import csv
import errno
import functools
import json
import os
import shutil
import signal
import subprocess
import zipfile
from unittest import mock

import numpy as np
import pytest

import commands
import lcma_tf
from file_moments import each_moment
from lcma_tf import NegativeLogLikelihood, TrainConfig
from lcma_tf.training import backup
from lcma_tf.training.backup import Resume
from lcma_tf.training.history import read_history
from lcma_tf.training.phase import make_optimizer

pytestmark = pytest.mark.usefixtures("eager_and_deterministic")

# Two epochs of pretraining and three of training, the last one not full.
SMALL = {**commands.TINY, "base_dim": 1, "pretrain_steps": 8, "train_steps": 10}
PHASES = {"pretrain": (8, 2), "train": (10, 3)}  # Steps and epochs.
PICTURES = ("samples", "interpolation", "reconstruction", "factorization", "training")
# The files whose writing a run is stopped in, in their order; the epochs' twice or thrice.
WRITTEN = [
    "config.json",
    *(
        f"{phase}/{name}"
        for phase in PHASES
        for name in ("best.weights.h5", "history.csv", "backup/latest.weights.h5")
    ),
    "pretrain/model.keras",
    "contributions.npz",
    "factorization.npz",
    "model.keras",
    "metrics.json",
    *(f"{name}.png" for name in PICTURES),
]


class Recorded:
    """An unbroken run in this process, what every moment of it would leave, and its states by step."""

    def __init__(self, folder):
        self.folder, self.workdir = folder, folder / "unbroken"
        self.flags = commands.as_flags(dataset=commands.write_npz(folder / "images.npz"), **SMALL)
        self.moments, self.states, self.saved = [], {}, []
        save = backup.save_weights

        def saving(model, path, before):
            phase = path.parent.parent.name
            state = [np.array(v) for v in (*model.weights, *model.optimizer.variables)]
            step = backup.optimizer_step(model)
            self.states[phase, step] = state
            save(model, path, before)
            self.saved.append((phase, step))

        with (
            mock.patch.object(backup, "save_weights", saving),
            each_moment(self.workdir, self._copy),
        ):
            ended = self.train(self.workdir)
        assert ended.code == 0, ended.err

    def train(self, workdir):
        return commands.call("lcma_tf.train", *self.flags, f"--workdir={workdir}")

    def copy(self, index):
        return self.folder / f"copy_{index}"

    def taken(self, index, path):
        """A copy of a copy, to go on from."""
        shutil.copytree(self.copy(index), path)
        return path

    def _copy(self, moment):
        copy = self.copy(len(self.moments))
        if self.workdir.exists():
            shutil.copytree(self.workdir, copy, ignore=shutil.ignore_patterns("tensorboard"))
        for path in copy.rglob("unfinished_*"):
            os.truncate(path, path.stat().st_size // 2)
        self.moments.append((moment, set(self.saved)))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return Recorded(tmp_path_factory.mktemp("recorded"))


def result(workdir):
    """All that a run found, for an exact comparison; but for the time that it took."""
    found = {name: (workdir / f"{name}.png").read_bytes() for name in PICTURES}
    found["metrics"] = json.loads((workdir / "metrics.json").read_text())
    del found["metrics"]["scoring_images_per_second"]
    for name in ("contributions.npz", "factorization.npz"):
        with np.load(workdir / name) as file:
            found[name] = {key: file[key].tolist() for key in file.files}
    for name in ("model.keras", "pretrain/model.keras"):
        with zipfile.ZipFile(workdir / name) as archive:
            found[name] = {key: archive.read(key) for key in ("config.json", "model.weights.h5")}
    for phase in PHASES:
        found[phase] = read_history(workdir / phase / "history.csv")
    return found


def assert_same_result(workdir, unbroken):
    ours, theirs = result(workdir), result(unbroken)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert ours[name] == theirs[name], name
    assert not list(workdir.rglob("unfinished_*"))


def test_a_run_is_stopped_in_the_writing_of_every_file(recorded):
    moments = [moment for moment, _ in recorded.moments]
    for path in WRITTEN:
        folder, _, name = path.rpartition("/")
        aside = f"{folder}/unfinished_{name}".removeprefix("/")
        if name == "history.csv":  # Its lines are added to it.
            assert ("open", path) in moments
            continue
        assert ("open", aside) in moments and ("rename", path) in moments
    first_backup = moments.index(("rename", "pretrain/backup/latest.weights.h5"))
    assert ("rename", "pretrain/backup/latest.weights.h5.bkp") not in moments[:first_backup]
    for phase, (_, num_epochs) in PHASES.items():
        named = [
            moment
            for moment in moments
            if moment == ("rename", f"{phase}/backup/latest.weights.h5")
        ]
        assert len(named) == num_epochs


@functools.cache
def compiled(workdir, phase):
    """The model of a phase, as training restores it."""
    model = lcma_tf.load(workdir / phase if phase == "pretrain" else workdir)
    num_steps, _ = PHASES[phase]
    model.compile(
        make_optimizer(TrainConfig(), num_steps), loss=NegativeLogLikelihood(), jit_compile=False
    )
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("phase", PHASES)
def test_every_moment_leaves_the_last_state_that_was_saved(recorded, phase, tmp_path):
    model = compiled(recorded.workdir, phase)
    variables = [*model.weights, *model.optimizer.variables]
    steps = {}  # By the backups that are there: many moments have the same.
    for index, (moment, saved) in enumerate(recorded.moments):
        there = recorded.copy(index) / phase / "backup"
        backups = frozenset(commands.files(there).items())
        if backups not in steps:
            if there.exists():
                shutil.copytree(there, tmp_path / str(index))
            model.optimizer.iterations.assign(0)
            steps[backups] = step = Resume(tmp_path / str(index)).restore(model)
            expected = recorded.states[phase, step] if step else map(np.asarray, variables)
            for variable, value in zip(variables, expected, strict=True):
                np.testing.assert_array_equal(np.asarray(variable), value)
        last = max((s for p, s in saved if p == phase), default=0)
        # Between the last rename and the return from it the new state counts already.
        assert steps[backups] in (last, min(last + 4, PHASES[phase][0])), moment
        rows = read_history(recorded.copy(index) / phase / "history.csv")
        assert len(rows) >= -(-steps[backups] // 4), moment
    assert set(steps.values()) == {0, *(s for p, s in recorded.states if p == phase)}


# What the errors and signals below leave out.
SOME = [
    ("rename", "pretrain/backup/latest.weights.h5"),  # The first: there is none before it.
    ("rename", "training.png"),
]


def test_the_run_ends_as_the_unbroken_one(recorded, tmp_path, at_length):
    moments = [moment for moment, _ in recorded.moments]
    chosen = at_length([moments.index(moment) for moment in SOME], range(1, len(moments)))
    for index in chosen:
        workdir = recorded.taken(index, tmp_path / str(index))
        ended = recorded.train(workdir)
        assert ended.code == 0, (moments[index], ended.err)
        assert_same_result(workdir, recorded.workdir)


def stopped_at(recorded, workdir, moment, stop):
    """Trains until `moment`, where `stop()` is called."""
    reached = []

    def happens(now):
        if now == moment and not reached:
            reached.append(now)
            stop()

    with each_moment(workdir, happens):
        ended = recorded.train(workdir)
    assert reached, moment
    assert not list(workdir.rglob("unfinished_*")), moment
    return ended


def full_disk():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupt():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


STOPS = [
    (("open", "unfinished_contributions.npz"), full_disk, 1, "contributions.npz' must be written"),
    (("rename", "factorization.npz"), interrupt, 130, "Interrupted. What was saved is kept."),
    (
        ("open", "train/backup/unfinished_latest.weights.h5"),
        full_disk,
        1,
        "No space left on device",
    ),
    (
        ("rename", "train/backup/latest.weights.h5.bkp"),
        terminate,
        143,
        "Terminated. What was saved",
    ),
    (("open", "unfinished_model.keras"), full_disk, 1, "make room and run the same again"),
    (("rename", "metrics.json"), interrupt, 130, "Run the same command again to go on"),
    (("open", "unfinished_factorization.png"), full_disk, 1, "factorization.png' must be written"),
]


def test_errors_and_signals_inside_a_write_lose_nothing(recorded, tmp_path):
    moments = [moment for moment, _ in recorded.moments]
    workdir = recorded.taken(moments.index(STOPS[0][0]), tmp_path / "workdir")
    for moment, stop, code, words in STOPS:
        ended = stopped_at(recorded, workdir, moment, stop)
        assert ended.code == code and words in ended.err, (moment, ended)
        assert "Traceback" not in ended.err
    assert recorded.train(workdir).code == 0
    assert_same_result(workdir, recorded.workdir)


def test_processes_killed_at_any_time(recorded, tmp_path, at_length, monkeypatch):
    """Not even a moment is chosen here: some time after a process has begun to write."""
    kills = at_length((), (signal.SIGTERM, signal.SIGKILL) * 13)
    if not kills:
        pytest.skip("By --long_faults; interruption_test.py kills a process four times.")
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "1")
    rng = np.random.default_rng(0)
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    argv = ["lcma_tf.train", *recorded.flags]
    for number in kills:
        before = commands.files(killed)
        process = commands.Started(*argv, f"--workdir={killed}")
        process.wait_until(functools.partial(has_changed, process, killed, before))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 8))
        process.send_signal(number)  # Which is nothing to a process that has ended.
        ended = process.end()
        assert ended.code in (0, 143, -signal.SIGKILL), ended.err
    for workdir in (killed, unbroken):
        ended = commands.run(*argv, f"--workdir={workdir}")
        assert ended.code == 0, ended.err
    assert_same_result(killed, unbroken)


def has_changed(process, workdir, before):
    return commands.files(workdir) != before or process.poll() is not None


def test_lines_of_the_history_are_whole(recorded):
    for phase, (_, num_epochs) in PHASES.items():
        with open(recorded.workdir / phase / "history.csv", newline="") as file:
            assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(num_epochs))
