"""MNIST and Fashion-MNIST from idx files of the original size, and how padding is counted."""

import gzip

import numpy as np
import pytest

import original_archives as originals
from lcma_tf import data
from lcma_tf.data.sources import mnist as idx_source
from lcma_tf.data.sources.mnist import PIXEL_SUMS

NAMES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}


def images_of(count):
    """Grey `[count, 28, 28]`, each with its number in two pixels, so that none is like another."""
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 4, 5], images[:, 23, 22] = np.arange(count) // 256, np.arange(count) % 256
    return images


TRAIN, TEST = images_of(60_000), images_of(10_000)
FILES = {"train": originals.idx_file(TRAIN), "test": originals.idx_file(TEST)}


@pytest.fixture
def sums(monkeypatch):
    # The published means of both sets, 0.1307 and 0.2860, say the same.
    means = {kind: sums["train"] / (60_000 * 784 * 255) for kind, sums in PIXEL_SUMS.items()}
    assert means == pytest.approx({"mnist": 0.130660, "fashion_mnist": 0.286041}, abs=1e-6)
    arrays = {"train": TRAIN, "test": TEST}
    ours = {
        "mnist": {split: int(images.sum(dtype=np.int64)) for split, images in arrays.items()},
        "fashion_mnist": {"train": 5, "test": 5},
    }
    monkeypatch.setattr(idx_source, "PIXEL_SUMS", ours)


def write(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in (FILES | changes).items():
        if content is not None:
            (folder / f"{NAMES[split]}.gz").write_bytes(content)


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("sub_folder", ["", "mnist"])
def test_official_counts_and_order(tmp_path, sub_folder):
    write(tmp_path / sub_folder)
    images = data.load("mnist", data_dir=str(tmp_path))
    np.testing.assert_array_equal(images.train[..., 0], TRAIN[:55_000])
    np.testing.assert_array_equal(images.validation[..., 0], TRAIN[55_000:])
    np.testing.assert_array_equal(images.test[..., 0], TEST)
    assert images.original_shape == images.image_shape == (28, 28, 1)
    assert "60,000 training and 10,000 test images" in images.description
    assert "validation images are the last 5000" in images.description


@pytest.mark.usefixtures("sums")
def test_padded_images_keep_the_original_in_the_middle(tmp_path):
    write(tmp_path)
    images = data.load("mnist", data_dir=str(tmp_path), pad_to=32)
    assert images.image_shape == (32, 32, 1)
    assert images.original_shape == (28, 28, 1)
    assert images.num_original_dimensions == 784
    np.testing.assert_array_equal(images.test[:, 2:-2, 2:-2, 0], TEST)
    assert images.test.sum(dtype=np.int64) == TEST.sum(dtype=np.int64)
    assert "over the 28x28x1 original dimensions" in images.description
    middle = data.without_padding(images.test, images.original_shape)
    np.testing.assert_array_equal(middle[..., 0], TEST)


@pytest.mark.usefixtures("sums")
def test_unpacked_files(tmp_path):
    for split, content in FILES.items():
        (tmp_path / NAMES[split]).write_bytes(gzip.decompress(content))
    assert len(data.load("mnist", data_dir=str(tmp_path)).test) == 10_000


@pytest.mark.usefixtures("sums")
def test_the_other_set_of_the_same_file_names_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(data.DataError, match="fashion_mnist: pixels of .*which is mnist"):
        data.load("fashion_mnist", data_dir=str(tmp_path))
    idx_source.PIXEL_SUMS["mnist"]["test"] = 6
    with pytest.raises(data.DataError, match=r"pixels of .*t10k.* 6; got .* is another set"):
        data.load("mnist", data_dir=str(tmp_path))


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": None}, r"must have the test images too; fetch .*t10k-images-idx3-ubyte\.gz"),
        ({"test": FILES["train"]}, r"idx file of \[10000, 28, 28\] bytes; .*\[60000, 28, 28\]"),
        ({"train": FILES["train"][:9000]}, "whole and of its original format.*EOFError"),
        ({"train": b"text"}, "BadGzipFile"),
        ({"train": b""}, "must be whole"),
    ],
)
def test_wrong_files(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(data.DataError, match=message):
        data.load("mnist", data_dir=str(tmp_path))


def test_what_is_missing_is_named_with_its_place(tmp_path, monkeypatch):
    originals.refuse_downloads(monkeypatch, ConnectionError("no network"))
    with pytest.raises(data.DataError, match=r"train-images-idx3-ubyte\.gz.*zalando") as caught:
        data.load("fashion_mnist", data_dir=str(tmp_path))
    assert f"into {tmp_path};" in str(caught.value)


@pytest.mark.usefixtures("sums")
def test_a_file_that_never_ends_is_read_no_further_than_it_may(tmp_path, monkeypatch):
    write(tmp_path)
    asked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1: asked.append(size) or read(self, size)
    )
    endless = FILES["train"] + gzip.compress(bytes(1 << 20))
    (tmp_path / f"{NAMES['train']}.gz").write_bytes(endless)
    with pytest.raises(data.DataError, match=r"47,040,017 or more bytes in all"):
        data.load("mnist", data_dir=str(tmp_path))
    assert asked == [47_040_017]
