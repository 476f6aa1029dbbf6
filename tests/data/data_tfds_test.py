"""TensorFlow Datasets sets: splits made where they lack one, and errors that name the way out."""

import json

import numpy as np
import pytest

import original_archives as originals
from cached_loads import assert_same_through_cache
from lcma_tf import data


def make_set(data_dir, name, counts, shape=(6, 4, 3), sizes=None, feature="image"):
    """A prepared set `name` of images filled with their own number, from train on."""
    number, splits = 0, {}
    for split, count in counts.items():
        splits[split] = []
        for _ in range(count):
            side = (sizes[number % len(sizes)],) * 2 if sizes else shape[:2]
            splits[split].append(np.full((*side, shape[2]), number, np.uint8))
            number += 1
    originals.prepare_by_tfds(data_dir, name, splits, feature)


def numbers(images):
    return [int(image[0, 0, 0]) for image in images]


@pytest.mark.parametrize(
    ("counts", "lengths", "notes"),
    [
        ({"train": 20, "validation": 3, "test": 4}, (20, 3, 4), ()),
        ({"train": 20, "test": 4}, (18, 2, 4), ("validation images are the last 2",)),
        ({"train": 20, "validation": 3}, (18, 2, 3), ("is scored as test", "the last 2")),
        ({"train": 20}, (17, 1, 2), ("test images are the last 2", "the last 1")),
    ],
)
def test_splits(tmp_path, counts, lengths, notes):
    make_set(tmp_path, "toy_images", counts)
    images = data.load("toy_images", data_dir=str(tmp_path))
    assert_same_through_cache(tmp_path / "cache", images, "toy_images", data_dir=str(tmp_path))
    assert (len(images.train), len(images.validation), len(images.test)) == lengths
    assert images.image_shape == (6, 4, 3)
    assert images.description.startswith("TensorFlow Datasets toy_images/1.0.0.")
    for note in notes:
        assert note in images.description
    together = numbers(images.train) + numbers(images.validation) + numbers(images.test)
    assert sorted(together) == list(range(sum(counts.values())))
    if counts.get("validation") and not counts.get("test"):
        assert numbers(images.test) == [20, 21, 22]
        assert numbers(images.validation) == [18, 19]


def test_images_of_several_sizes(tmp_path):
    make_set(tmp_path, "toy_sizes", {"train": 6, "test": 2}, shape=(0, 0, 1), sizes=[4, 8])
    with pytest.raises(data.DataError, match=r"toy_sizes: images of `train` must be of one size"):
        data.load("toy_sizes", data_dir=str(tmp_path))
    images = data.load("toy_sizes", data_dir=str(tmp_path), image_size=4)
    assert images.train.shape == (5, 4, 4, 1)
    assert numbers(images.train) == [0, 1, 2, 3, 4]
    assert "brought to 4x4 pixels" in images.description


def test_sets_without_images_or_with_too_few(tmp_path):
    make_set(tmp_path, "toy_other", {"train": 3}, feature="picture")
    with pytest.raises(data.DataError, match="must have a uint8 feature `image`"):
        data.load("toy_other", data_dir=str(tmp_path))
    make_set(tmp_path, "toy_single", {"train": 1, "test": 1})
    with pytest.raises(data.DataError, match="`train` must have more than 1 images"):
        data.load("toy_single", data_dir=str(tmp_path))


def test_fewer_images_than_declared(tmp_path):
    make_set(tmp_path, "toy_counts", {"train": 20, "test": 3})
    (info,) = tmp_path.glob("**/dataset_info.json")
    splits = json.loads(info.read_text())
    for split in splits["splits"]:
        if split["name"] == "test":
            split["shardLengths"] = ["4"]
    info.write_text(json.dumps(splits))
    with pytest.raises(data.DataError, match="`test` of .*toy_counts.*contained only 3"):
        data.load("toy_counts", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifra10", "npz:PATH.*did you mean .*cifar10"),
        ("cifar10/no_such", "TFDS refuses it: .*no_such"),
        ("/some/file.npz", "npz:PATH"),
        ("", "npz:PATH"),
    ],
)
def test_unknown_names_list_the_forms(tmp_path, name, message):
    with pytest.raises(data.DataError, match=message):
        data.load(name, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    "error", [ConnectionError("no network\nmore"), AssertionError("no file"), RuntimeError()]
)
def test_a_failed_download_names_the_manual_way(tmp_path, monkeypatch, error):
    originals.refuse_downloads(monkeypatch, error)
    with pytest.raises(data.DataError, match=type(error).__name__) as caught:
        data.load("cifar100", data_dir=str(tmp_path))
    assert str(tmp_path / "downloads" / "manual") in str(caught.value)
