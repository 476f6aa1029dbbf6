"""No room: one sentence that names the file, what was there before as it was, nothing half written.

The system itself refuses here, by a limit on the length of files, to whoever runs the tests.
"""

import contextlib
import errno
import os
import resource
import types

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import NegativeLogLikelihood
from lcma_tf.files.npz import save_npz
from lcma_tf.files.saving import SaveError, write_json, write_whole, written_whole
from lcma_tf.model.fused_adam import FusedAdam
from lcma_tf.training import phase as training
from lcma_tf.training.backup import Resume
from lcma_tf.training.callbacks import BestWeights
from lcma_tf.training.history import HistoryLogger, read_history
from testing import tiny_flow

NOISE = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)  # Not to be compressed.


@contextlib.contextmanager
def room_for(num_bytes):
    """No file can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def model():
    model = tiny_flow(image_shape=(2, 2, 1), num_scales=1)
    model.compile(FusedAdam(), loss=NegativeLogLikelihood(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def at_step(model, step):
    model.optimizer.iterations.assign(step)
    return model


def save_model(path, model):
    with written_whole(path) as temporary:
        model.save(temporary)


def save_best(path, model):
    best = BestWeights(path)
    best.set_model(model)
    best.on_epoch_end(0, {"val_bits_per_dim": 3.0})


WRITERS = {
    "bytes": ("a", lambda path, model: write_whole(path, NOISE.tobytes())),
    "npz": ("a.npz", lambda path, model: save_npz(path, {"noise": NOISE})),
    "json": ("a.json", lambda path, model: write_json(path, {"noise": NOISE.tolist()})),
    "best weights": ("best.weights.h5", save_best),
    "model": ("model.keras", save_model),
}


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize(("name", "write"), WRITERS.values(), ids=WRITERS)
def test_what_finds_no_room_leaves_what_was_there(name, write, there_before, model, tmp_path):
    path = tmp_path / name
    if there_before:
        path.write_text("as it was")
    with room_for(20_000), pytest.raises(SaveError) as raised:
        write(path, model)
    message = str(raised.value)
    assert repr(str(path)) in message and os.strerror(errno.EFBIG) in message
    assert "What was saved before is kept; make room and run the same again." in message
    assert [entry.name for entry in tmp_path.iterdir()] == [name] * there_before
    if there_before:
        assert path.read_text() == "as it was"
    write(path, model)
    assert path.stat().st_size > 20_000


def test_a_backup_without_room_leaves_the_ones_before(model, tmp_path, at_length):
    """However little is missing: HDF5 on the disk itself ended the process where 130 kB were left."""
    resume = Resume(tmp_path)
    resume.set_model(model)
    for step in (10, 20):
        at_step(model, step)
        resume.on_epoch_end(0)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    size = len(before[tmp_path / "latest.weights.h5"])
    at_step(model, 30)
    for num_bytes in np.linspace(0, size - 1, at_length(12, 1000)).astype(int).tolist():
        with room_for(num_bytes), pytest.raises(SaveError, match=r"latest\.weights\.h5"):
            resume.on_epoch_end(0)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with room_for(size):
        resume.on_epoch_end(0)
    assert Resume(tmp_path).restore(at_step(model, 0)) == 30


def test_falling_back_takes_no_room(model, tmp_path, monkeypatch):
    said = []  # What is printed may go into a file, here too.
    monkeypatch.setattr("lcma_tf.training.backup.say", said.append)
    resume = Resume(tmp_path)
    resume.set_model(model)
    for step in (10, 20):
        at_step(model, step)
        resume.on_epoch_end(0)
    os.truncate(tmp_path / "latest.weights.h5", 1000)
    with room_for(0):
        assert Resume(tmp_path).restore(at_step(model, 0)) == 10
    assert Resume(tmp_path).restore(at_step(model, 0)) == 10 and len(said) == 1


def test_a_history_without_room_keeps_its_lines(tmp_path):
    path = tmp_path / "history.csv"
    logger = HistoryLogger(path)
    logger.set_model(types.SimpleNamespace(optimizer=types.SimpleNamespace(iterations=4)))
    logger.on_train_begin()
    logger.on_epoch_end(0, {"bits_per_dim": 5.0, "val_bits_per_dim": 5.5})
    before = path.read_bytes()
    with (
        room_for(len(before) + 3),
        pytest.raises(SaveError, match=r"history\.csv' must be written"),
    ):
        logger.on_epoch_end(1, {"bits_per_dim": 4.0, "val_bits_per_dim": 4.5})
    assert path.read_bytes().startswith(before)
    assert read_history(path) == [
        {"epoch": 0, "bits_per_dim": 5.0, "step": 4, "val_bits_per_dim": 5.5}
    ]


def test_event_files_without_room_are_named(tmp_path):
    with (
        room_for(50),
        pytest.raises(SaveError, match=r"logs' must be written.*make room"),
        training.full_disk_named(tmp_path / "logs"),
    ):
        writer = tf.summary.create_file_writer(str(tmp_path / "logs"))
        with writer.as_default():
            tf.summary.scalar("bits_per_dim", 1.0, step=0)
        writer.flush()


def test_other_exhausted_resources_are_not_the_disk(tmp_path):
    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    with pytest.raises(tf.errors.ResourceExhaustedError), training.full_disk_named(tmp_path):
        raise error


def test_an_error_about_another_file_is_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "a"):
        (tmp_path / "none").read_bytes()
    assert list(tmp_path.iterdir()) == []
