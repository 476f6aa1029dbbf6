"""Files of a finished run with one byte changed: an error that names the file, never other numbers."""

import shutil
import zipfile

import numpy as np
import pytest

import commands
import lcma_tf
from lcma_tf.factorization import Factorization, FactorizationError
from lcma_tf.model import ModelFileError
from lcma_tf.training.contributions import load_contributions, save_contributions
from testing import tiny_factorization, tiny_flow

SHAPE = (4, 4, 1)
RNG = np.random.default_rng(0)
CONTRIBUTIONS = [RNG.normal(size=SHAPE).astype(np.float32) for _ in range(3)]
FACTORIZATION = tiny_factorization("lcma", SHAPE, num_scales=2)


def arrays_of_factorization():
    values = {"format_version": 1, "rule": "lcma", "seed": 0, "image_shape": SHAPE}
    return values | {"mask_1": FACTORIZATION.masks[0]}


# How the file is written, how an earlier version wrote it, how it is read, what must be read.
KINDS = {
    "contributions.npz": (
        lambda path: save_contributions(path, CONTRIBUTIONS),
        {f"layer_{layer}": array for layer, array in enumerate(CONTRIBUTIONS, start=1)},
        load_contributions,
        lambda loaded: np.array_equal(loaded, CONTRIBUTIONS),
    ),
    "factorization.npz": (
        FACTORIZATION.save,
        arrays_of_factorization(),
        Factorization.load,
        lambda loaded: loaded == FACTORIZATION,
    ),
}


def changes(content, num_flips):
    """`content` with each of its bytes changed in turn, in `num_flips` ways."""
    for place, byte in enumerate(content):
        flips = (0xFF, *(1 << ((place + step) % 8) for step in range(num_flips - 1)))
        for flip in flips:
            yield content[:place] + bytes([byte ^ flip]) + content[place + 1 :]


@pytest.mark.parametrize("name", KINDS)
def test_every_changed_byte_is_found(name, tmp_path, at_length):
    path, (save, _, load, is_right) = tmp_path / name, KINDS[name]
    save(path)
    assert is_right(load(path))
    count = 0
    for damaged in changes(path.read_bytes(), at_length(2, 9)):
        path.write_bytes(damaged)
        with pytest.raises(FactorizationError, match=name):
            load(path)
        count += 1
    assert count > 1_000


@pytest.mark.parametrize("name", KINDS)
def test_files_of_earlier_versions_are_read_right_or_not_at_all(name, tmp_path, at_length):
    path, (_, arrays, load, is_right) = tmp_path / name, KINDS[name]
    np.savez_compressed(path, **arrays)
    assert is_right(load(path))  # No checksum, and still a good file.
    refused = 0
    for damaged in changes(path.read_bytes(), at_length(2, 9)):
        path.write_bytes(damaged)
        try:
            loaded = load(path)
        except FactorizationError as error:
            assert name in str(error)
            refused += 1
        else:
            assert is_right(loaded)  # It was a date, say.
    assert refused > 700


@pytest.mark.parametrize("name", KINDS)
def test_other_readers_see_the_arrays_alone(name, tmp_path):
    path, (save, arrays, _, _) = tmp_path / name, KINDS[name]
    save(path)
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == set(arrays)
        for member, array in arrays.items():
            np.testing.assert_array_equal(file[member], array)


@pytest.mark.parametrize("name", KINDS)
def test_a_member_that_is_no_array_is_refused(name, tmp_path):
    path, (save, _, load, _) = tmp_path / name, KINDS[name]
    save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b""
        archive.writestr("mask_2" if "fact" in name else "layer_4", b"not an array")
    with pytest.raises(FactorizationError, match=f"{name}.*magic string"):
        load(path)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"layer_1": np.zeros((2, 2, 1))}, "layer_1 is float64"),
        (
            {
                "layer_1": np.zeros((2, 2, 1), np.float32),
                "layer_2": np.zeros((2, 1, 1), np.float32),
            },
            r"layer_2 is float32 \[2, 1, 1\] and layer_1 \[2, 2, 1\]",
        ),
        ({"layer_2": np.zeros((2, 2, 1), np.float32)}, "got layer_2"),
        ({}, "got no array"),
    ],
)
def test_contributions_of_another_kind_are_refused(arrays, words, tmp_path):
    np.savez(tmp_path / "contributions.npz", **arrays)
    with pytest.raises(FactorizationError, match=words):
        load_contributions(tmp_path / "contributions.npz")


def test_a_changed_byte_in_a_model_is_found(tmp_path, at_length):
    model = tiny_flow(num_scales=1)
    path = tmp_path / "model.keras"
    model.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    index = len(whole) - 200  # Of the zip archive, at the end.
    places = rng.integers(0, index, at_length(60, 2_000))
    refused = 0
    for place in [*places, *rng.integers(index, len(whole), at_length(6, 400))]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            loaded = lcma_tf.load(path)
        except (ModelFileError, FileNotFoundError) as error:
            assert "model.keras" in str(error)
            refused += 1
        else:
            for variable, expected in zip(loaded.variables, model.variables, strict=True):
                np.testing.assert_array_equal(variable, expected)
    assert refused >= len(places) - 5


def test_a_model_of_another_kind_is_refused(tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    with pytest.raises(
        ModelFileError, match="must be a whole file of a trained flow; it holds a Seq"
    ):
        lcma_tf.load(tmp_path)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("letter.txt", "Dear reader,")
    with pytest.raises(ModelFileError, match="must be a whole file of a trained flow"):
        lcma_tf.load(tmp_path)


@pytest.fixture(scope="module")
def damaged_run(tmp_path_factory):
    """A finished run whose model has one other bit, in the middle of its weights."""
    finished = commands.finished_run(tmp_path_factory)
    workdir = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(finished.workdir, workdir)
    content = bytearray((workdir / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (workdir / "model.keras").write_bytes(content)
    return finished.flags, workdir


@pytest.mark.parametrize("main", ["evaluate", "sample", "export", "train"])
def test_a_run_with_a_damaged_model_is_refused(main, damaged_run, tmp_path):
    flags, workdir = damaged_run
    before = commands.files(workdir)
    module, further = {
        "export": ("export.export_saved_model", [f"--export_dir={tmp_path}/models"]),
        "train": ("lcma_tf.train", flags),
    }.get(main, (f"lcma_tf.{main}", []))
    ended = commands.call(module, f"--workdir={workdir}", *further)
    commands.assert_refused(ended, "model.keras must be a whole file of a trained flow; damaged")
    assert commands.files(workdir) == before and list(tmp_path.iterdir()) == []
