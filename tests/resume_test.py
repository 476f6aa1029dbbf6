"""A backup that a kill has torn gives way to the one before, and a torn history to its whole lines."""

import math
import pathlib

import numpy as np
import pytest

from lcma_tf import NegativeLogLikelihood
from lcma_tf.callbacks import Resume, read_history
from lcma_tf.optimizer import FusedAdam
from testing import tiny_flow

WEIGHTS, METADATA = "latest.weights.h5", "training_metadata.json"


def compiled(random_weights):
    model = tiny_flow(random_weights=random_weights, image_shape=(2, 2, 1), num_scales=1)
    model.compile(FusedAdam(), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def backups(tmp_path):
    """A folder with the states of steps 10 and 20; the weights of each step are all its number."""
    model = compiled(random_weights=1)
    resume = Resume(str(tmp_path))
    resume.set_model(model)
    for epoch, step in enumerate((10, 20)):
        model.set_weights([np.full(weight.shape, step) for weight in model.get_weights()])
        model.optimizer.iterations.assign(step)
        resume.on_epoch_end(epoch)
    return tmp_path


def restored(folder):
    """The step that a new model resumes from, and the value of its weights."""
    model = compiled(random_weights=None)
    fresh = model.get_weights()
    step = Resume(str(folder)).restore(model)
    assert step == int(model.optimizer.iterations)
    weights = model.get_weights()
    if step == 0:
        for weight, value in zip(weights, fresh, strict=True):
            np.testing.assert_array_equal(weight, value)
        return 0
    assert all(np.all(weight == step) for weight in weights)
    return step


def truncate(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


def test_the_last_state_comes_back(backups):
    assert restored(backups) == 20


def test_no_backup_is_step_zero(tmp_path):
    assert restored(tmp_path / "none") == 0


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_torn_file_gives_way_to_the_one_before(backups, share):
    truncate(backups / WEIGHTS, share)
    assert restored(backups) == 10
    assert restored(backups) == 10  # And again, should the next run be killed at once.


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_two_torn_files_are_step_zero(backups, share):
    truncate(backups / WEIGHTS, share)
    truncate(backups / f"{WEIGHTS}.bkp", share)
    assert restored(backups) == 0


def test_a_torn_first_file_is_step_zero(backups):
    truncate(backups / WEIGHTS, 0.5)
    (backups / f"{WEIGHTS}.bkp").unlink()
    assert restored(backups) == 0


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("weights_too", [False, True])
def test_a_torn_epoch_number_does_not_matter(backups, share, weights_too):
    for name in (METADATA, f"{METADATA}.bkp"):
        truncate(backups / name, share)
    if weights_too:
        truncate(backups / WEIGHTS, 0.5)
    assert restored(backups) == (10 if weights_too else 20)


HISTORY = "epoch,bits_per_dim,val_bits_per_dim\n0,5.0,5.5\n1,4.0,4.5\n2,3.0,3.5\n"


def history(tmp_path, text, **options):
    path = pathlib.Path(tmp_path, "history.csv")
    path.write_text(text)
    return [tuple(row.values()) for row in read_history(path, **options)]


def test_history(tmp_path):
    assert read_history(tmp_path / "none.csv") == []
    assert history(tmp_path, "") == []
    assert history(tmp_path, HISTORY) == [(0, 5.0, 5.5), (1, 4.0, 4.5), (2, 3.0, 3.5)]
    assert history(tmp_path, HISTORY, num_epochs=2) == [(0, 5.0, 5.5), (1, 4.0, 4.5)]
    assert [*read_history(tmp_path / "history.csv")[0]] == HISTORY.partition("\n")[0].split(",")


@pytest.mark.parametrize("torn", ["3", "3,", "3,2.", "3,2.0", "3,2.0,", "3,2.0,-"])
def test_a_torn_last_line_is_left_out(tmp_path, torn):
    assert history(tmp_path, HISTORY + torn) == history(tmp_path, HISTORY)


def test_a_later_line_of_the_same_epoch_wins(tmp_path):
    rows = history(tmp_path, HISTORY + "1,4.1,4.6\n2,2.9,nan\n")
    assert rows[:2] == [(0, 5.0, 5.5), (1, 4.1, 4.6)]
    assert rows[2][:2] == (2, 2.9) and math.isnan(rows[2][2])
