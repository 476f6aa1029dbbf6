"""The chief of two workers is killed in training: the other says so and ends, and a restart goes on.

The death of the other one is in `multi_worker_test.py`, with the whole pipeline, for `--long_faults`.
"""

import signal

import numpy as np
import pytest
import tensorflow as tf

import commands
from lcma_tf.distribute.workers import WorkerError, Workers
from lcma_tf.experiment.workdir import Workdir
from two_workers import SECONDS, Pair, assert_out_of_touch, rows

# One flow layer, since four processes have to trace it.
TINY = {**commands.TINY, "num_scales": 1, "split_rule": "none", "train_steps": 16}


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker_dies")
    return commands.as_flags(dataset=commands.write_npz(folder / "images.npz"), **TINY)


def test_the_chief_dies(command, tmp_path, nothing_drawn):
    workdir = Workdir(tmp_path / "two")
    workdirs = (workdir.path, tmp_path / "elsewhere")
    history = workdir.phase("train") / "history.csv"
    with Pair(command, workdirs) as pair:
        chief, second = pair.workers
        chief.wait_until(lambda: history.exists() and len(rows(history)) >= 2, SECONDS)
        chief.send_signal(signal.SIGKILL)
        ended = second.end(SECONDS)
    assert_out_of_touch(ended)
    assert not workdir.model.exists() and not workdirs[1].exists()

    with Pair(command, workdirs) as pair:
        first, second = pair.end()
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "Epoch 1/4" not in first.out and "Epoch 4/4" in first.out

    alone = Workdir(tmp_path / "one")
    ended = commands.call("lcma_tf.train", *command, f"--workdir={alone.path}")
    assert ended.code == 0, ended.err
    ours, theirs = rows(history), rows(alone.phase("train") / "history.csv")
    assert len(ours) == len(theirs) == 4
    for name in ("bits_per_dim", "val_bits_per_dim"):
        np.testing.assert_allclose(
            *([float(row[name]) for row in rows] for rows in (ours, theirs)), rtol=1e-3
        )


@pytest.mark.parametrize("error", [tf.errors.UnavailableError, tf.errors.ResourceExhaustedError])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_only_what_the_loss_of_another_worker_raises_is_taken_for_it(error, num_workers):
    workers = Workers(tf.distribute.get_strategy())
    workers.num_workers = num_workers
    is_loss = num_workers == 2 and error is tf.errors.UnavailableError
    with pytest.raises(WorkerError if is_loss else error) as caught, workers.in_touch():
        raise error(None, None, "{{function_node __f}} Socket closed\nMore.")
    if is_loss:
        assert str(caught.value).endswith("TensorFlow's UnavailableError says: Socket closed")
