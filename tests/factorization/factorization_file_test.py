"""Factorizations on disk: the pinned keys, exact round trips, and files that are refused."""

import json

import numpy as np
import pytest

from lcma_tf import Factorization, FactorizationError
from lcma_tf.factorization import SPLIT_RULES
from testing import tiny_factorization

SHAPE = (8, 4, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "factorization.npz"


def saved_arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_a_saved_factorization_is_the_same_again(rule, path):
    factorization = tiny_factorization(rule, SHAPE, num_scales=3, seed=7)
    factorization.save(path)
    loaded = Factorization.load(path)
    assert loaded == factorization and hash(loaded) == hash(factorization)
    assert (loaded.rule, loaded.seed, loaded.image_shape) == (rule, 7, SHAPE)
    for mask, expected in zip(loaded.masks, factorization.masks, strict=True):
        np.testing.assert_array_equal(mask, expected)
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # Nothing half written.


def test_the_pinned_keys_and_types(path):
    tiny_factorization("lcma", SHAPE, num_scales=3, seed=7).save(path)
    arrays = saved_arrays(path)
    names = {"mask_1", "mask_2", "rule", "seed", "format_version", "image_shape"}
    assert arrays.keys() == names
    assert arrays["mask_1"].dtype == bool and arrays["mask_1"].shape == SHAPE
    assert arrays["mask_2"].dtype == bool and arrays["mask_2"].shape == (4, 2, 6)
    assert arrays["rule"].item() == "lcma" and arrays["seed"] == 7
    assert arrays["image_shape"].tolist() == list(SHAPE)


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_the_json_form_is_the_same_again(rule):
    factorization = tiny_factorization(rule, (2, 6, 1), num_scales=2)  # No whole number of bytes.
    as_json = json.loads(json.dumps(factorization.to_dict()))
    assert Factorization.from_dict(as_json) == factorization


def test_a_missing_file_is_named(path):
    with pytest.raises(FactorizationError, match="factorization.npz.*FileNotFoundError"):
        Factorization.load(path)


def test_a_torn_file_is_refused_wherever_it_is_torn(path):
    tiny_factorization("lcma", SHAPE, num_scales=3).save(path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FactorizationError, match="must be a readable npz file"):
            Factorization.load(path)


def test_a_damaged_byte_is_refused_or_does_no_harm(path):
    factorization = tiny_factorization("random", SHAPE, num_scales=2)
    factorization.save(path)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            loaded = Factorization.load(path)
            loaded.check_fits(SHAPE, num_scales=2)  # An entry may be lost from the zip's index.
        except FactorizationError:
            refused += 1
        else:
            assert loaded == factorization  # It was a date, say.
    assert refused > len(whole) / 2


def test_a_file_of_another_kind_is_refused(path):
    path.write_bytes(b"mask_1,mask_2\n1,0\n")
    with pytest.raises(FactorizationError, match="must be a readable npz file"):
        Factorization.load(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(SHAPE, bool))  # One array, not several by name.
    with pytest.raises(FactorizationError, match="factorization.npz"):
        Factorization.load(path)


def test_a_pickled_file_is_refused_and_not_run(path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("The pickle was run.",))

    np.savez(path, mask_1=np.array([Bomb()], dtype=object), rule="lcma", seed=0)
    with pytest.raises(FactorizationError, match="without pickled objects"):
        Factorization.load(path)


TRUE_HALF = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 2 == 0
HALF_OF_NEXT = np.arange(48).reshape(4, 2, 6) % 2 == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format_version 1; got 2"),
        ({"rule": ""}, "`rule` must be a name; got ''"),
        ({"rule": "none"}, "'none' has no masks; got 2"),
        ({"mask_1": np.ones(SHAPE, bool)}, "mask_1 must .* half True; got .* 96 of 96 True"),
        ({"mask_2": ~HALF_OF_NEXT & HALF_OF_NEXT}, "mask_2 must .* half True; got .* 0 of 48"),
        ({"mask_1": TRUE_HALF.astype(int)}, "mask_1 must be bool .* got int64"),
        ({"mask_1": TRUE_HALF[:4]}, r"mask_1 must be bool of shape \(8, 4, 3\).*\(4, 4, 3\)"),
        ({"mask_2": TRUE_HALF}, r"mask_2 must be bool of shape \(4, 2, 6\).*\(8, 4, 3\)"),
        ({"image_shape": [4, 4, 3]}, r"mask_1 must be bool of shape \(4, 4, 3\)"),
        ({"image_shape": [8, 4]}, "image_shape"),
        ({"image_shape": 8}, "image_shape"),
        ({"format_version": "one"}, "format_version"),
        ({"seed": "zero"}, "seed"),
        ({"seed": None}, "must hold rule, seed"),
        ({"rule": None}, "must hold rule, seed"),
        ({"mask_1": None}, "must hold rule, seed.*mask_1"),
        ({"mask_2": None, "mask_3": HALF_OF_NEXT}, "must hold rule, seed.*mask_3"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(changes, message, path):
    arrays = {"format_version": 1, "rule": "lcma", "seed": 0, "image_shape": SHAPE}
    arrays |= {"mask_1": TRUE_HALF, "mask_2": HALF_OF_NEXT}
    np.savez(path, **arrays)
    assert len(Factorization.load(path).masks) == 2  # Without the change it is a good one.
    arrays = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
    np.savez(path, **arrays)
    with pytest.raises(FactorizationError, match=message):
        Factorization.load(path)


def test_a_factorization_of_another_flow_does_not_fit():
    factorization = tiny_factorization("lcma", SHAPE, num_scales=3)
    factorization.check_fits(SHAPE, 3)
    for shape, num_scales in ((SHAPE, 2), ((8, 8, 3), 3)):
        with pytest.raises(FactorizationError, match="must be for image_shape=.*2 masks"):
            factorization.check_fits(shape, num_scales)
    tiny_factorization("none", SHAPE, num_scales=3).check_fits(SHAPE, 2)
