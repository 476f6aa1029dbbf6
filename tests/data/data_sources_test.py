"""Files and folders as data sets, and what is said when they are not as they must be."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from lcma_tf import config, data
from lcma_tf.data import loading, resample

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def splits(**changes):
    arrays = {"train": pixels(5, 4, 6, 3), "validation": pixels(2, 4, 6, 3)}
    return {**arrays, "test": pixels(1, 4, 6, 3), **changes}


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_flags_and_loaders_know_the_same_resamplers():
    assert config.options(config.TrainConfig)["resampler"].choices is loading.RESAMPLERS
    assert config.TrainConfig().resampler == resample.DEFAULT_RESAMPLER


def test_npz_round_trip(tmp_path):
    arrays = splits()
    np.savez(tmp_path / "a.npz", **arrays, labels=np.array(["further"], object))
    images = data.load(f"npz:{tmp_path}/a.npz")
    assert images.image_shape == (4, 6, 3)
    for split, array in arrays.items():
        np.testing.assert_array_equal(getattr(images, split), array)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (splits(train=np.zeros((5, 4, 6, 3), np.float32)), r"`train` must be a uint8.*got float32"),
        (splits(test=pixels(4, 6, 3)), r"`test` must be .*\[N, H, W, C\]; got uint8 \[4, 6, 3\]"),
        (splits(test=pixels(1, 6, 6, 3)), "`test` must have the image shape of `train`"),
        (splits(test=pixels(0, 4, 6, 3)), "`test` must hold at least one image"),
        (splits(train=pixels(1, 4, 6, 4)), "`train` must have 1 or 3 channels"),
        (splits(train=np.array([None])), "`train` must be a plain uint8 array; got pickled"),
        ({"train": pixels(5, 4, 6, 3), "x": pixels(1)}, "missing validation, test, found train, x"),
    ],
)
def test_npz_of_wrong_content(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(data.DataError, match=message) as caught:
        data.load(f"npz:{path}")
    assert str(path) in str(caught.value)


def test_npz_that_is_no_whole_archive(tmp_path):
    with pytest.raises(data.DataError, match=r"an existing \.npz file"):
        data.load(f"npz:{tmp_path}/none.npz")
    with pytest.raises(data.DataError, match=r"an existing \.npz file"):
        data.load("npz:")
    np.savez(tmp_path / "a.npz", **splits())
    whole = (tmp_path / "a.npz").read_bytes()
    for torn in (b"", b"text", whole[:300], whole[: len(whole) // 2]):
        (tmp_path / "torn.npz").write_bytes(torn)
        with pytest.raises(data.DataError, match=r"whole \.npz archive"):
            data.load(f"npz:{tmp_path}/torn.npz")
    (tmp_path / "torn.npz").write_bytes(whole[:200] + b"\xff" * 40 + whole[240:])
    with pytest.raises(data.DataError, match="`train` must be readable"):
        data.load(f"npz:{tmp_path}/torn.npz")
    with open(tmp_path / "single.npz", "wb") as file:
        np.save(file, pixels(2, 3))
    with pytest.raises(data.DataError, match="got a single array"):
        data.load(f"npz:{tmp_path}/single.npz")


def test_npz_pixels_are_not_resized(tmp_path):
    np.savez(tmp_path / "a.npz", **splits())
    with pytest.raises(data.DataError, match="`image_size` 8 already"):
        data.load(f"npz:{tmp_path}/a.npz", image_size=8)


def test_folders_as_splits(tmp_path):
    arrays = {"train": pixels(2, 4, 6, 3), "validation": pixels(1, 4, 6, 3)}
    arrays["test"] = pixels(3, 4, 6, 3)
    for split, images in arrays.items():
        for number, image in enumerate(images):
            save(tmp_path / split / f"deep/{number}.png", image)
    (tmp_path / "train" / "note.txt").write_text("not an image")
    images = data.load(f"image_folder:{tmp_path}")
    for split, array in arrays.items():
        np.testing.assert_array_equal(getattr(images, split), array)


def test_split_by_file_name_is_stable(tmp_path):
    for number in range(100):
        save(tmp_path / f"{number % 3}" / f"{number}.png", np.full((2, 2), number, np.uint8))
    before = data.load(f"image_folder:{tmp_path}")
    assert before.image_shape == (2, 2, 1)  # Grey files stay grey.
    assert 70 <= len(before.train) <= 90
    save(tmp_path / "more.PNG", np.full((2, 2), 200, np.uint8))
    after = data.load(f"image_folder:{tmp_path}")
    for split in ("train", "validation", "test"):
        values = set(getattr(after, split)[:, 0, 0, 0]) - {200}
        assert values == set(getattr(before, split)[:, 0, 0, 0])


def test_folder_crops_the_centre_and_averages(tmp_path):
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 2:6] = pixels(4, 4, 3)
    for split in ("train", "validation", "test"):
        save(tmp_path / split / "wide.png", picture)
        save(tmp_path / split / "z_small.png", np.full((1, 1), 9, np.uint8))
    images = data.load(f"image_folder:{tmp_path}", image_size=2)
    assert images.train.shape == (2, 2, 2, 3)  # One grey file among colour: all RGB.
    expected = picture[:, 2:6].reshape(2, 2, 2, 2, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(images.train[0], expected, atol=1)
    np.testing.assert_array_equal(images.train[1], 9)
    with pytest.raises(data.DataError, match=r"of one size unless.*wide.png with 8x4.*1x1"):
        data.load(f"image_folder:{tmp_path}")


def test_bad_folders(tmp_path):
    with pytest.raises(data.DataError, match="existing folder"):
        data.load(f"image_folder:{tmp_path}/none")
    save(tmp_path / "one.png", pixels(2, 2, 3))
    with pytest.raises(data.DataError, match=r"every split must have .*found"):
        data.load(f"image_folder:{tmp_path}")
    for split in ("train", "test"):
        save(tmp_path / split / "a.png", pixels(16, 16, 3))
    with pytest.raises(data.DataError, match="found only train, test"):
        data.load(f"image_folder:{tmp_path}")
    torn = (tmp_path / "test" / "a.png").read_bytes()[:200]
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "torn.jpg").write_bytes(torn)
    with pytest.raises(data.DataError, match=r"torn\.jpg is not"):
        data.load(f"image_folder:{tmp_path}")
    save(tmp_path / "validation" / "torn.jpg", pixels(16, 16, 3))
    save(tmp_path / "test" / "deep.png", np.zeros((16, 16), np.uint16))
    with pytest.raises(data.DataError, match="8 bits a channel"):
        data.load(f"image_folder:{tmp_path}")


@pytest.mark.parametrize("name", [None, 5, pathlib.Path("photos")])
def test_a_name_is_a_text(name):
    for load in (data.load, data.load_for_scoring):
        with pytest.raises(data.DataError, match="`name` must be the name of a data set, a text"):
            load(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": "32"}, "`image_size` must be None or an integer .*; got '32'"),
        ({"pad_to": 40.0}, "`pad_to` must be None or an integer .*; got 40.0"),
        ({"validation_share": "0.1"}, r"`validation_share` must be .*; got '0.1'"),
        ({"split": "tset"}, "`split` must be one of train, validation, test, .*; got 'tset'"),
    ],
)
def test_options_of_another_kind(options, message):
    with pytest.raises(data.DataError, match=message):
        data.load_for_scoring("photo_patches", **options)


def test_image_size_must_be_positive(tmp_path):
    with pytest.raises(data.DataError, match="`image_size`"):
        data.load("photo_patches", data_dir=str(tmp_path), image_size=0)
