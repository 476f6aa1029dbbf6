"""A backup that is not whole gives way to the one before, and a torn history to its whole lines."""

import functools
import math
import os
import pathlib

import numpy as np
import pytest

from lcma_tf import NegativeLogLikelihood
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training.backup import BackupError, Resume
from lcma_tf.training.history import read_history
from testing import tiny_flow

WEIGHTS = "latest.weights.h5"
BEFORE = f"{WEIGHTS}.bkp"


@functools.cache  # A state is set before each use.
def compiled():
    model = tiny_flow(image_shape=(2, 2, 1), num_scales=1)
    model.compile(FusedAdam(), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def at_step(step):
    """A model whose weights, moments and step are all this number."""
    model = compiled()
    for variable in (*model.weights, *model.optimizer.variables):
        variable.assign(np.full(variable.shape, step))
    return model


@pytest.fixture
def backups(tmp_path):
    """A folder with the states of steps 10 and 20."""
    resume = Resume(str(tmp_path))
    for epoch, step in enumerate((10, 20)):
        resume.set_model(at_step(step))
        resume.on_epoch_end(epoch)
    return tmp_path


def restored(folder):
    """The step that a new model resumes from, and the value of all that it has."""
    model = at_step(0)
    step = Resume(str(folder)).restore(model)
    assert step == int(model.optimizer.iterations)
    assert all(np.all(np.asarray(v) == step) for v in (*model.weights, *model.optimizer.variables))
    return step


def truncate(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def test_the_last_state_comes_back(backups):
    assert restored(backups) == 20


def test_no_backup_is_step_zero(tmp_path):
    assert restored(tmp_path / "none") == 0


def zero(path, start):
    whole = path.read_bytes()
    start %= len(whole)
    path.write_bytes(whole[:start] + bytes(len(whole) - start))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut to nothing": lambda path: truncate(path, 0.0),
    "cut to its beginning": lambda path: truncate(path, 0.001),
    "cut in half": lambda path: truncate(path, 0.5),
    "cut by a little": lambda path: truncate(path, 0.999),
    "last page zero": lambda path: zero(path, -4096),
    "second half zero": lambda path: zero(path, path.stat().st_size // 2),
    "all zero": lambda path: zero(path, 0),
    "one bit in the checksum": lambda path: flip(path, 0.0007),
    "one bit in the middle": lambda path: flip(path, 0.5),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"more"),
}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_gives_way_to_the_one_before(backups, damage, capsys):
    damage(backups / WEIGHTS)
    assert restored(backups) == 10
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[lcma_tf] warning: ") and str(backups / WEIGHTS) in line
    assert "step 10" in line
    assert restored(backups) == 10  # And again, should the next run be killed at once.
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_two_damaged_files_are_an_error_and_stay(backups, damage):
    for name in (WEIGHTS, BEFORE):
        damage(backups / name)
    before = contents(backups)
    with pytest.raises(BackupError, match=f"whole backup.*{WEIGHTS}.*{BEFORE}.*Put|put a copy"):
        restored(backups)
    assert contents(backups) == before


def test_a_damaged_first_file_is_an_error(backups):
    truncate(backups / WEIGHTS, 0.5)
    (backups / BEFORE).unlink()
    with pytest.raises(BackupError, match="it is missing"):
        restored(backups)


def test_the_one_before_alone_is_enough(backups, capsys):
    """As a kill between the two renames leaves it."""
    (backups / WEIGHTS).unlink()
    assert restored(backups) == 10
    assert "it is missing" in capsys.readouterr().out


def test_a_backup_of_other_variables_is_an_error(tmp_path):
    other = tiny_flow(image_shape=(4, 4, 1), num_scales=2)
    other.compile(FusedAdam(), loss=NegativeLogLikelihood(), jit_compile=False)
    other.optimizer.build(other.trainable_variables)
    other.optimizer.iterations.assign(10)
    resume = Resume(tmp_path)
    resume.set_model(other)
    resume.on_epoch_end(0)
    with pytest.raises(BackupError, match="does not hold what the model has"):
        restored(tmp_path)


@pytest.fixture
def keras_backups(backups):
    """The same two states as Keras writes them, which earlier versions of this program did."""
    for name, step in ((BEFORE, 10), (WEIGHTS, 20)):
        at_step(step).save_weights(backups / "other.weights.h5")
        os.replace(backups / "other.weights.h5", backups / name)
    return backups


def test_a_backup_of_an_earlier_version_comes_back(keras_backups):
    assert restored(keras_backups) == 20


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_torn_backup_of_an_earlier_version_gives_way(keras_backups, share):
    truncate(keras_backups / WEIGHTS, share)
    assert restored(keras_backups) == 10


def test_a_readable_backup_without_its_optimizer_gives_way(keras_backups):
    """As an interruption left it: weights that are trained, and a step that is 0."""
    import h5py

    with h5py.File(keras_backups / WEIGHTS, "r+") as file:
        del file["optimizer"]
    assert restored(keras_backups) == 10


def test_keras_reads_a_backup_as_it_is(backups):
    model = at_step(0)
    model.load_weights(backups / WEIGHTS)
    assert int(model.optimizer.iterations) == 20
    assert all(np.all(weight == 20) for weight in model.get_weights())


HISTORY = "epoch,bits_per_dim,val_bits_per_dim\n0,5.0,5.5\n1,4.0,4.5\n2,3.0,3.5\n"


def history(tmp_path, text):
    path = pathlib.Path(tmp_path, "history.csv")
    path.write_text(text)
    return [tuple(row.values()) for row in read_history(path)]


def test_history(tmp_path):
    assert read_history(tmp_path / "none.csv") == []
    assert history(tmp_path, "") == []
    assert history(tmp_path, HISTORY) == [(0, 5.0, 5.5), (1, 4.0, 4.5), (2, 3.0, 3.5)]
    assert [*read_history(tmp_path / "history.csv")[0]] == HISTORY.partition("\n")[0].split(",")


@pytest.mark.parametrize("torn", ["3", "3,", "3,2.", "3,2.0", "3,2.0,", "3,2.0,-", "\0" * 9])
def test_a_torn_last_line_is_left_out(tmp_path, torn):
    assert history(tmp_path, HISTORY + torn) == history(tmp_path, HISTORY)


def test_a_later_line_of_the_same_epoch_wins(tmp_path):
    rows = history(tmp_path, HISTORY + "1,4.1,4.6\n2,2.9,nan\n")
    assert rows[:2] == [(0, 5.0, 5.5), (1, 4.1, 4.6)]
    assert rows[2][:2] == (2, 2.9) and math.isnan(rows[2][2])
