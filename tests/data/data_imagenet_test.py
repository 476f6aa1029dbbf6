"""The two downsampled ImageNets from files laid out like the originals; neither passes for the other."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

import original_archives as originals
from cached_loads import assert_same_through_cache
from lcma_tf import data
from lcma_tf.data.sources import imagenet_versions

OLD, NEW = "downsampled_imagenet/32x32", "imagenet_resized/32x32"
# What stands for the real counts here: the older set is the smaller one in both splits.
SMALL = {
    "downsampled_imagenet": {"train": 22, "validation": 3},
    "imagenet_resized": {"train": 24, "validation": 4},
}
IMAGES = originals.pictures(28, 32, 32)
ADVICE = {
    OLD: r"fetch train_32x32\.tar and valid_32x32\.tar",
    NEW: r"fetch Imagenet32_train_npz\.zip and Imagenet32_val_npz\.zip",
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    assert imagenet_versions.COUNTS == {
        "downsampled_imagenet": {"train": 1_281_149, "validation": 49_999},
        "imagenet_resized": {"train": 1_281_167, "validation": 50_000},
    }
    monkeypatch.setattr(imagenet_versions, "COUNTS", SMALL)
    monkeypatch.setattr("lcma_tf.data.sources.imagenet_resized.COUNTS", SMALL)


def write_pngs(folder, packed, train=22, validation=3, images=IMAGES, size="32x32"):
    train_files = originals.png_files(f"train_{size}", images[:train])
    others = {f"train_{size}/._0000001.png": b"what macOS adds", f"train_{size}/list.txt": b"text"}
    # Neither a tar nor a folder is in the order of its names.
    train_files = dict(reversed(list(train_files.items()))) | others
    validation_files = originals.png_files(f"valid_{size}", images[train : train + validation])
    if packed:
        originals.write_tar(folder / f"train_{size}.tar", train_files)
        originals.write_tar(folder / f"valid_{size}.tar", validation_files)
    else:
        originals.write_folder(folder, train_files | validation_files)


def npz_files(train=24, validation=4, images=IMAGES):
    parts = np.array_split(images[:train], 10)
    files = {f"train_data_batch_{n}.npz": originals.npz_batch(p) for n, p in enumerate(parts, 1)}
    files["val_data.npz"] = originals.npz_batch(images[train : train + validation])
    return files


def assert_split(images, train, validation):
    cut = train // 10
    np.testing.assert_array_equal(images.train, IMAGES[: train - cut])
    np.testing.assert_array_equal(images.validation, IMAGES[train - cut : train])
    np.testing.assert_array_equal(images.test, IMAGES[train : train + validation])
    assert "No test split exists" in images.description
    assert "validation split is scored as test" in images.description
    assert f"validation images are the last {cut}" in images.description


@pytest.mark.parametrize("packed", [True, False])
def test_the_older_set_from_png_files(tmp_path, packed):
    write_pngs(tmp_path, packed)
    images = data.load(OLD, data_dir=str(tmp_path))
    assert_split(images, 22, 3)
    assert "of the flow papers" in images.description
    assert "22 train and 3 validation images (counted)" in images.description
    assert_same_through_cache(tmp_path / "cache", images, OLD, data_dir=str(tmp_path))
    assert "imagenet_resized" not in images.description


@pytest.mark.parametrize("layout", ["flat", "folders", "zips", "zips of folders"])
def test_the_newer_set_from_npz_batches(tmp_path, layout):
    files = npz_files()
    validation = {"val_data.npz": files.pop("val_data.npz")}
    for stem, part in (("Imagenet32_train_npz", files), ("Imagenet32_val_npz", validation)):
        if layout == "flat":
            originals.write_folder(tmp_path, part)
        elif layout == "folders":
            originals.write_folder(tmp_path / stem, part)
        else:
            prefix = f"{stem}/" if layout == "zips of folders" else ""
            members = {prefix + name: content for name, content in part.items()}
            originals.write_zip(tmp_path / f"{stem}.zip", members)
    images = data.load(NEW, data_dir=str(tmp_path))
    assert_split(images, 24, 4)
    assert "lower than those of downsampled_imagenet" in images.description
    assert "24 train and 4 validation images (counted)" in images.description
    assert_same_through_cache(tmp_path / "cache", images, NEW, data_dir=str(tmp_path))


def test_64x64_comes_in_two_zips(tmp_path):
    pictures = originals.pictures(28, 64, 64)
    files = npz_files(images=pictures)
    first = {name: files[name] for name in list(files)[:5]}
    second = {name: files[name] for name in list(files)[5:10]}
    originals.write_zip(tmp_path / "Imagenet64_train_part1_npz.zip", first)
    originals.write_zip(tmp_path / "Imagenet64_train_part2_npz.zip", second)
    with pytest.raises(data.DataError, match=r"missing val_data\.npz.*Imagenet64_val_npz\.zip"):
        data.load("imagenet_resized/64x64", data_dir=str(tmp_path))
    originals.write_zip(
        tmp_path / "Imagenet64_val_npz.zip", {"val_data.npz": files["val_data.npz"]}
    )
    # The smaller set's batches, of the same names, beside them do not get in the way.
    originals.write_folder(tmp_path, npz_files())
    images = data.load("imagenet_resized/64x64", data_dir=str(tmp_path))
    np.testing.assert_array_equal(images.test, pictures[24:])


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        # The newer set's counts, in one split or in both, and counts of neither.
        ((24, 4), "got 24 train and 4 validation, as has imagenet_resized/32x32"),
        ((22, 4), "its own name is imagenet_resized/32x32"),
        ((21, 3), "must have 22 train and 3 validation images; got 21 train.*npz:PATH"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_pngs_of_other_counts(tmp_path, packed, counts, message):
    write_pngs(tmp_path, packed, *counts)
    with pytest.raises(data.DataError, match=message):
        data.load(OLD, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((22, 3), "got 22 train and 3 validation, as has downsampled_imagenet/32x32"),
        ((24, 3), "its own name is downsampled_imagenet/32x32"),
        ((25, 3), "downsampled_imagenet/32x32"),
        ((23, 4), "must have 24 train and 4 validation images; got 23 train.*npz:PATH"),
        ((25, 2), "got 25 train and 2 validation"),
    ],
)
def test_batches_of_other_counts(tmp_path, counts, message):
    originals.write_folder(tmp_path, npz_files(*counts))
    with pytest.raises(data.DataError, match=message):
        data.load(NEW, data_dir=str(tmp_path))


@pytest.mark.parametrize("asked", [OLD, NEW])
def test_files_of_the_other_set_alone(tmp_path, asked):
    if asked == OLD:
        originals.write_folder(tmp_path, npz_files())
        other = NEW
    else:
        write_pngs(tmp_path, packed=True)
        other = OLD
    message = f"found neither, but files of {other}, which must be loaded by that name; "
    with pytest.raises(data.DataError, match=message + ADVICE[asked]):
        data.load(asked, data_dir=str(tmp_path))


@pytest.mark.parametrize("asked", [OLD, NEW])
def test_nothing_there_is_no_download(tmp_path, monkeypatch, asked):
    def refuse(*args, **kwargs):
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(data.DataError, match=f"found neither; {ADVICE[asked]}") as caught:
        data.load(asked, data_dir=str(tmp_path))
    assert f"into {tmp_path};" in str(caught.value)


def prepare_by_tfds(data_dir, kind, train, validation):
    splits = {"train": IMAGES[:train], "validation": IMAGES[train : train + validation]}
    originals.prepare_by_tfds(data_dir, f"{kind}/32x32", splits)


@pytest.mark.parametrize("kind", list(SMALL))
def test_prepared_by_tfds(tmp_path, kind):
    counts = SMALL[kind].values()
    prepare_by_tfds(tmp_path, kind, *counts)
    images = data.load(f"{kind}/32x32", data_dir=str(tmp_path))
    assert_split(images, *counts)
    assert f"From TensorFlow Datasets {kind}/32x32/" in images.description


def test_prepared_by_tfds_with_the_counts_of_the_other(tmp_path):
    prepare_by_tfds(tmp_path, "downsampled_imagenet", 24, 4)
    with pytest.raises(data.DataError, match="its own name is imagenet_resized/32x32"):
        data.load(OLD, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("size", "is_torn", "message"),
    [
        ((31, 32), False, r"0000003\.png must be whole.* must be 32x32; got 32x31"),
        ((32, 32), True, r"0000003\.png must be whole"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_picture_that_is_not(tmp_path, packed, size, is_torn, message):
    file = originals.encoded(np.zeros((*size, 3), np.uint8), "PNG")
    files = originals.png_files("valid_32x32", IMAGES[22:25])
    files["valid_32x32/0000003.png"] = file[: 60 if is_torn else None]
    write_pngs(tmp_path, packed)
    if packed:
        originals.write_tar(tmp_path / "valid_32x32.tar", files)
    else:
        originals.write_folder(tmp_path, files)
    with pytest.raises(data.DataError, match=message):
        data.load(OLD, data_dir=str(tmp_path))


def test_prepared_by_tfds_without_a_split_or_with_a_torn_file(tmp_path):
    originals.prepare_by_tfds(tmp_path / "half", OLD, {"train": IMAGES[:22]})
    with pytest.raises(data.DataError, match="got 22 train"):
        data.load(OLD, data_dir=str(tmp_path / "half"))
    prepare_by_tfds(tmp_path, "downsampled_imagenet", 22, 3)
    (shard,) = tmp_path.glob("**/*-validation.tfrecord*")
    shard.write_bytes(shard.read_bytes()[:-50])
    with pytest.raises(data.DataError, match="`validation` of .* must be whole.*DataLossError"):
        data.load(OLD, data_dir=str(tmp_path))


def test_a_folder_in_place_of_an_archive_and_a_picture_that_is_one(tmp_path):
    write_pngs(tmp_path, packed=False)
    (tmp_path / "valid_32x32" / "0000002.png").unlink()
    (tmp_path / "valid_32x32" / "0000002.png").mkdir()
    with pytest.raises(data.DataError, match=r"0000002\.png must be whole.*plain file"):
        data.load(OLD, data_dir=str(tmp_path))
    (tmp_path / "Imagenet32_val_npz.zip").mkdir()
    with pytest.raises(data.DataError, match=r"Imagenet32_val_npz\.zip must be whole"):
        data.load(NEW, data_dir=str(tmp_path))


def test_torn_archives_and_sizes(tmp_path):
    write_pngs(tmp_path, packed=True)
    (tmp_path / "valid_32x32.tar").unlink()
    with pytest.raises(data.DataError, match=r"both tars; there is no valid_32x32\.tar"):
        data.load(OLD, data_dir=str(tmp_path))
    (tmp_path / "valid_32x32.tar").write_bytes(b"no tar")
    with pytest.raises(data.DataError, match=r"valid_32x32\.tar must be whole"):
        data.load(OLD, data_dir=str(tmp_path))
    with pytest.raises(data.DataError, match="downsampled_imagenet/32x32 or downsampled_image"):
        data.load("downsampled_imagenet/16x16", data_dir=str(tmp_path))
    originals.write_folder(tmp_path, npz_files() | {"val_data.npz": b"no npz"})
    with pytest.raises(data.DataError, match=r"val_data\.npz must be whole"):
        data.load(NEW, data_dir=str(tmp_path))
    small = npz_files(images=IMAGES[:, :16, :16])
    originals.write_folder(tmp_path, small)
    with pytest.raises(data.DataError, match=r"planes of 32x32; got uint8 \[3, 768\]"):
        data.load(NEW, data_dir=str(tmp_path))
