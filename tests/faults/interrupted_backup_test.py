"""Ctrl-C at any moment while a backup is written: the state before or the new one is there, whole."""

import contextlib
import shutil
import sys

import numpy as np
import pytest

from lcma_tf import NegativeLogLikelihood
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training.backup import Resume
from lcma_tf.training.whole_weights import read_weights
from testing import tiny_flow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model = tiny_flow(image_shape=(2, 2, 1), num_scales=1)
    model.compile(FusedAdam(), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    save(model, tmp_path_factory.mktemp("first"), 1)  # What is imported late is by now.
    return model


class InterruptionAt:
    """Counts the calls inside the block, and the lines of this package, and raises at one of them."""

    def __init__(self, moment=None):
        self.moment, self.count = moment, 0

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _trace(self, frame, event, arg):
        if event in ("call", "line"):
            self.count += 1
            if self.count == self.moment:
                raise KeyboardInterrupt
        return self._trace if "lcma_tf" in frame.f_code.co_filename else None


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


def interrupted(model, folder, moment=None):
    """Writes the state of step 30, interrupted; returns the moments that were counted."""
    resume = Resume(folder)
    resume.set_model(at_step(model, 30))
    with contextlib.suppress(KeyboardInterrupt), InterruptionAt(moment) as interruption:
        resume.on_epoch_end(0)
    return interruption.count


# From the first, for which there is none to fall back on, to the third, which pushes one out.
@pytest.mark.parametrize("saved", [(), (10,), (10, 20)])
def test_an_interrupted_backup_leaves_a_whole_state(model, saved, tmp_path, at_length):
    before = tmp_path / "before"
    before.mkdir()
    for step in saved:
        save(model, before, step)
    shutil.copytree(before, tmp_path / "counted")
    count = interrupted(model, tmp_path / "counted")
    # All over the write; and closer at its end, where files are moved.
    every = np.linspace(1, count, at_length(8, 1000)).astype(int)
    end = range(count - at_length(40, 400), count + 1, at_length(3, 1))
    found, num_interrupted = set(), 0
    moments = sorted({*every, *end})
    for moment in moments:
        folder = shutil.copytree(before, tmp_path / str(moment))
        num_interrupted += interrupted(model, folder, moment) == moment
        assert not list(folder.glob("unfinished_*"))
        for path in folder.iterdir():
            read_weights(path)  # What has the name of a backup is one, at any moment.
        found.add(restored(model, folder))
    assert found == {max(saved, default=0), 30}
    assert num_interrupted > 0.9 * len(moments)  # A few may be those of a garbage collection.
