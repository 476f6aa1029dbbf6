"""The embedded photographs: sizes, and that no pixel of a split is in another."""

import numpy as np
import pytest

from lcma_tf import data
from lcma_tf.data.sources import photo_patches_builder as photo_patches

COUNTS = {"photo_patches/32x32": (4936, 714, 585), "photo_patches/64x64": (943, 72, 63)}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.mark.parametrize("name", COUNTS)
def test_counts_shapes_and_disjoint_splits(name, data_dir, capfd):
    images = data.load(name, data_dir=data_dir)
    told = "".join(capfd.readouterr())
    assert "Downloading and preparing" not in told and "dataset_info.json" not in told
    assert (len(images.train), len(images.validation), len(images.test)) == COUNTS[name]
    size = int(name[-2:])
    assert images.image_shape == (size, size, 3)
    assert images.train.dtype == np.uint8
    assert "danielbuechele" in images.description
    assert "vultilion" in images.description
    assert "NOT how well a model generalises" in images.description
    seen = {
        split: {image.tobytes() for image in getattr(images, split)}
        for split in ("train", "validation", "test")
    }
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]


def test_the_short_name_is_32x32_and_is_prepared_once(data_dir, monkeypatch):
    first = data.load("photo_patches", data_dir=data_dir)
    monkeypatch.setattr(photo_patches, "PHOTOS", ())  # A second preparation would find nothing.
    again = data.load("photo_patches", data_dir=data_dir, image_size=32)
    assert again.name == first.name == "photo_patches/32x32"
    np.testing.assert_array_equal(first.test, again.test)


@pytest.mark.parametrize("shape", [(512, 512), (427, 640), (301, 451)])
@pytest.mark.parametrize("index", [0, 1])
def test_regions_cover_each_pixel_once(shape, index):
    covered = np.zeros(shape, int)
    for rows, columns in photo_patches.regions(*shape, index).values():
        covered[rows, columns] += 1
    np.testing.assert_array_equal(covered, 1)


def test_validation_and_test_take_turns():
    even, odd = (photo_patches.regions(400, 600, index) for index in (0, 1))
    assert even["validation"] == odd["test"]
    assert even["test"] == odd["validation"]


def test_patches_are_area_averages_at_a_quarter_step():
    region = np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    region[:, ::8] = 0  # Enough contrast to survive averaging.
    found = list(photo_patches.patches(region, 32))
    assert len(found) == 3 * 2  # Halved: 48 x 40. A third is 32 x 26: too narrow.
    expected = region[0:2, 16:18].astype(float).mean(axis=(0, 1)).round()
    np.testing.assert_array_equal(found[1][0, 0], expected)


def test_flat_regions_are_left_out():
    assert not list(photo_patches.patches(np.full((96, 96, 3), 7, np.uint8), 32))


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (photo_patches.Photo("no_such_pkg_", "no-such-dist", "a.png"), "pip install no-such-dist"),
        (photo_patches.Photo("numpy", "numpy", "a.png"), "installed numpy must contain a.png"),
    ],
)
def test_missing_photo_names_the_package(photo, message, tmp_path, monkeypatch):
    monkeypatch.setattr(photo_patches, "PHOTOS", (photo,))
    with pytest.raises(data.DataError, match=message):
        data.load("photo_patches", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "size"), [("photo_patches/16x16", None), ("photo_patches/32x32", 64)]
)
def test_other_sizes_are_refused(name, size, tmp_path):
    with pytest.raises(data.DataError, match="must be one of photo_patches/32x32"):
        data.load(name, data_dir=str(tmp_path), image_size=size)
