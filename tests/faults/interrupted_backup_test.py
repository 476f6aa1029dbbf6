"""Ctrl-C at any line of Python that writes a backup: the state before or the new one is there, whole."""

import sys

import numpy as np
import pytest

from lcma_tf import NegativeLogLikelihood
from lcma_tf.backup import Resume
from lcma_tf.optimizer import FusedAdam
from lcma_tf.whole_weights import read_weights
from testing import tiny_flow


@pytest.fixture(scope="module")
def model():
    model = tiny_flow(image_shape=(2, 2, 1), num_scales=1)
    model.compile(FusedAdam(), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


class InterruptionAt:
    """Counts the lines that run inside the block, in all files, and raises at one of them."""

    def __init__(self, line=None):
        self.line, self.count = line, 0

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _trace(self, frame, event, arg):
        if event == "line":
            self.count += 1
            if self.count == self.line:
                raise KeyboardInterrupt
        return self._trace


def at_step(model, step):
    for variable in (*model.weights, *model.optimizer.variables):
        variable.assign(np.full(variable.shape, step))
    return model


def save(model, folder, step):
    resume = Resume(folder)
    resume.set_model(at_step(model, step))
    resume.on_epoch_end(0)


def restored(model, folder):
    step = Resume(folder).restore(at_step(model, 0))
    variables = [*model.weights, *model.optimizer.variables]
    assert all(np.all(np.asarray(variable) == step) for variable in variables)
    return step


def num_lines(model, folder, saved):
    for step in saved:
        save(model, folder, step)
    resume = Resume(folder)
    resume.set_model(at_step(model, 30))
    with InterruptionAt() as counted:
        resume.on_epoch_end(0)
    return counted.count


# From the first, for which there is none to fall back on, to the third, which pushes one out.
@pytest.mark.parametrize("saved", [(), (10,), (10, 20)])
def test_an_interrupted_backup_leaves_a_whole_state(model, saved, tmp_path, at_length):
    lines = num_lines(model, tmp_path / "counted", saved)
    # All over the write; and each line at its end, where files are moved.
    every = np.linspace(1, lines, at_length(30, 400)).astype(int)
    found = set()
    for line in sorted({*every, *range(lines - at_length(30, 200), lines + 1)}):
        folder = tmp_path / str(line)
        for step in saved:
            save(model, folder, step)
        resume = Resume(folder)
        resume.set_model(at_step(model, 30))
        with pytest.raises(KeyboardInterrupt), InterruptionAt(line):
            resume.on_epoch_end(0)
        assert not list(folder.glob("unfinished_*"))
        for path in folder.iterdir():
            read_weights(path)  # What has the name of a backup is one, at any moment.
        found.add(restored(model, folder))
    assert found == {max(saved, default=0), 30}
