"""One process at a time in a workdir, and none where it cannot write: one sentence, nothing touched."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

import commands
from lcma_tf import FlowConfig, TrainConfig
from lcma_tf.experiment.workdir import Workdir, WorkdirError


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    dataset = commands.write_npz(folder / "images.npz")
    return commands.as_flags(dataset=dataset, **commands.TINY)


@pytest.mark.parametrize("module", ["lcma_tf.train", "lcma_tf.ablation"])
def test_a_second_process_is_refused(module, flags, tmp_path):
    with Workdir(tmp_path / "run").locked():
        ended = commands.call(module, *flags, f"--workdir={tmp_path / 'run'}")
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["lock"]
    commands.assert_refused(ended, "`workdir` in use by another process one is at work")


HOLDER = """
import pathlib, sys
from lcma_tf.files.folder_lock import folder_lock
with folder_lock(pathlib.Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


def test_the_folder_is_free_when_its_holder_is_killed(tmp_path):
    workdir = Workdir(tmp_path / "run")
    with workdir.locked(), pytest.raises(WorkdirError, match="in use"), workdir.locked():
        pass
    argv = [sys.executable, "-c", HOLDER, workdir.path / "lock"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=commands.ROOT, text=True, **pipes) as holder:
        assert holder.stdout.readline() == "True\n"
        with pytest.raises(WorkdirError, match="in use"), workdir.locked():
            pass
        holder.kill()
        holder.wait()
    with workdir.locked():
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of(number, tmp_path, monkeypatch, capsys):
    def flock(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with Workdir(tmp_path / "run").locked():
        pass
    (line,) = capsys.readouterr().out.splitlines()
    assert "warning: no locks" in line and str(tmp_path / "run") in line


def test_an_error_of_the_block_is_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), Workdir(tmp_path).locked():
        (tmp_path / "none").read_bytes()


def test_a_workdir_that_cannot_be_written_to_is_refused(flags, tmp_path, monkeypatch):
    """As on a disk that is mounted read-only: also root may not, which permissions do not stop."""
    opened = os.open

    def refuse(path, how, *args, **options):
        if str(path).startswith(str(tmp_path)) and how & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return opened(path, how, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    ended = commands.call("lcma_tf.train", *flags, f"--workdir={tmp_path / 'run'}")
    commands.assert_refused(ended, "`workdir` made and written to Read-only file system")


def test_a_lock_is_no_content(tmp_path):
    """A run that was killed between its lock and its claim left a folder that is as good as empty."""
    workdir, configs = Workdir(tmp_path / "run"), (FlowConfig(), TrainConfig())
    with workdir.locked():
        workdir.check(*configs)
        workdir.claim(*configs)
