"""Backup, history and best weights of a phase belong together, or the run says what to do and stops.

At the level of the command: nothing is overwritten, nothing begins anew in silence.
"""

import errno
import os
import pathlib
import shutil

import pytest

import commands
from lcma_tf.training.backup import BackupError, Resume
from lcma_tf.training.history import read_history
from lcma_tf.training.phase_files import PhaseFiles
from lcma_tf.training.whole_weights import save_weights
from testing import tiny_flow

HEADER = "epoch,bits_per_dim,val_bits_per_dim\n"
LINES = ("0,5.0,5.5\n", "1,4.0,4.5\n", "2,3.0,4.6\n")


@pytest.fixture
def phase(tmp_path):
    """History and best weights of three epochs."""
    (tmp_path / "history.csv").write_text(HEADER + "".join(LINES))
    save_weights(tiny_flow(image_shape=(2, 2, 1), num_scales=1), tmp_path / "best.weights.h5")
    return tmp_path


def forget(phase, epoch):
    return PhaseFiles(phase, phase / "model.keras").forget_epochs_from(epoch)


@pytest.mark.parametrize(("epoch", "best"), [(3, 4.5), (2, 4.5), (1, 5.5)])
def test_the_history_is_cut_to_the_state_that_came_back(phase, epoch, best):
    assert forget(phase, epoch) == best
    assert [row["epoch"] for row in read_history(phase / "history.csv")] == list(range(epoch))


def test_the_first_epoch_may_be_told_of_before_it_is_saved(phase):
    (phase / "history.csv").write_text(HEADER + LINES[0])
    assert forget(phase, 0) is None
    assert (phase / "history.csv").read_text() == ""


def damaged_best(phase):
    os.truncate(phase / "best.weights.h5", 10_000)


def missing_best(phase):
    (phase / "best.weights.h5").unlink()


def shorter_history(phase):
    (phase / "history.csv").write_text(HEADER + LINES[0])


def missing_history(phase):
    (phase / "history.csv").unlink()


def zeroed_history(phase):
    (phase / "history.csv").write_bytes(bytes(70))


@pytest.mark.parametrize(
    ("happens", "epoch", "words"),
    [
        (lambda phase: None, 0, "has done 3 epochs goes on from a backup"),
        (damaged_best, 3, "best.weights.h5.*must be whole; got its checksum"),
        (missing_best, 3, "best.weights.h5.*must be whole; got no such file"),
        (shorter_history, 3, "must tell of the 3 epochs .* got 1"),
        (missing_history, 3, "must tell of the 3 epochs .* got 0"),
        (zeroed_history, 3, "must tell of the 3 epochs .* got 0"),
    ],
)
def test_what_does_not_belong_together_is_an_error_and_stays(phase, happens, epoch, words):
    happens(phase)
    before = commands.files(phase)
    with pytest.raises(BackupError, match=f"{words}.*to begin this phase anew"):
        forget(phase, epoch)
    assert commands.files(phase) == before


@pytest.fixture
def stopped(finished, tmp_path):
    """A run that was killed as soon as its training was done; its flags."""
    shutil.copytree(finished.workdir, tmp_path / "run")
    (tmp_path / "run" / "model.keras").unlink()
    return [*finished.flags, f"--workdir={tmp_path / 'run'}"], tmp_path / "run" / "train"


def lose(backup):
    for path in backup.iterdir():
        path.unlink()


def zero_both(backup):
    for path in backup.iterdir():
        path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lose, "has done 6 epochs goes on from a backup|of so many and no backup beside it"),
        (zero_both, "latest.weights.h5'|latest.weights.h5.bkp'|put a copy of one of them back"),
    ],
)
def test_a_run_without_a_readable_backup_does_not_begin_anew(stopped, happens, words):
    flags, phase = stopped
    happens(phase / "backup")
    before = commands.files(phase)
    ended = commands.call("lcma_tf.train", *flags)
    assert ended.code == 1 and ended.err.startswith("error: ") and "Traceback" not in ended.err
    assert all(part in ended.err for part in words.split("|")), ended.err
    assert commands.files(phase) == before


READ = pathlib.Path.read_bytes


def refusing(number, *names):
    """`Path.read_bytes` that the system answers with this error for files of these names."""

    def read_bytes(path):
        if path.name in names:
            raise OSError(number, os.strerror(number), os.fspath(path))
        return READ(path)

    return read_bytes


BOTH = ("latest.weights.h5", "latest.weights.h5.bkp")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EAGAIN, errno.ESTALE])
def test_a_backup_that_the_system_does_not_give_out_is_no_missing_one(
    number, tmp_path, monkeypatch
):
    for name in BOTH:
        (tmp_path / name).write_bytes(b"whatever it holds")
    before = commands.files(tmp_path)
    monkeypatch.setattr(pathlib.Path, "read_bytes", refusing(number, *BOTH))
    with pytest.raises(BackupError, match=f"{os.strerror(number)}.*Nothing was changed"):
        Resume(tmp_path).restore(tiny_flow(image_shape=(2, 2, 1), num_scales=1))
    assert commands.files(tmp_path) == before
