"""CIFAR-10 from archives laid out like the originals: both forms, and files that are not."""

import pickle

import numpy as np
import pytest

import original_archives as originals
from lcma_tf import data
from lcma_tf.data.sources import cifar10 as cifar_source

COUNT = 4  # Images in each of the six files.
IMAGES = originals.pictures(6 * COUNT, 32, 32)
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
ENCODERS = {"bin": originals.cifar_binary_batch, "py": originals.cifar_pickled_batch}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    assert cifar_source.IMAGES_PER_FILE == 10_000
    monkeypatch.setattr(cifar_source, "IMAGES_PER_FILE", COUNT)


def batches(form, images=IMAGES):
    suffix = ".bin" if form == "bin" else ""
    parts = np.split(images, 6)
    contents = {f"{n}{suffix}": ENCODERS[form](p) for n, p in zip(NAMES, parts, strict=True)}
    return {f"cifar-10-batches-{form}/{name}": content for name, content in contents.items()}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("form", ["bin", "py"])
def test_both_forms_packed_and_unpacked(tmp_path, form, packed):
    archive = f"cifar-10-{'binary' if form == 'bin' else 'python'}.tar.gz"
    if packed:
        others = {
            "cifar-10-batches-x/batches.meta": b"names",
            "cifar-10-batches-x/readme.html": b"",
        }
        originals.write_tar(tmp_path / archive, batches(form) | others, "w:gz")
    else:
        originals.write_folder(tmp_path, batches(form))
    images = data.load("cifar10", data_dir=str(tmp_path))
    np.testing.assert_array_equal(images.train, IMAGES[:18])
    np.testing.assert_array_equal(images.validation, IMAGES[18:20])
    np.testing.assert_array_equal(images.test, IMAGES[20:])
    assert "20 train and 4 test images" in images.description
    assert "validation images are the last 2" in images.description


def test_the_folder_of_tfds_for_manual_downloads_is_looked_in_too(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    originals.write_folder(manual, batches("bin"))
    assert len(data.load("cifar10", data_dir=str(tmp_path)).train) == 18


def test_resized_images_say_so(tmp_path):
    originals.write_folder(tmp_path, batches("bin"))
    images = data.load("cifar10", data_dir=str(tmp_path), image_size=16)
    averages = IMAGES[20:].reshape(4, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(images.test, averages, atol=1)  # Pillow rounds twice.
    assert "Resized from 32x32" in images.description


class Harmful:
    def __reduce__(self):
        return print, ("this must not be printed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({b"data": Harmful()}, protocol=3), "UnpicklingError: .*builtin.*print"),
        (pickle.dumps({b"other": 1}, protocol=3), "a dictionary with an array"),
        (pickle.dumps([1], protocol=3), "a dictionary with an array"),
        (originals.cifar_pickled_batch(IMAGES[:4], b"os\nsystem"), "got os.system"),
        (originals.cifar_pickled_batch(IMAGES[:4])[:5000], "UnpicklingError"),
        (originals.cifar_pickled_batch(IMAGES[:4]).replace(b"u1", b"O8"), "plain uint8.*O8"),
        (originals.cifar_pickled_batch(IMAGES[:3]), "must hold 4 images; got 3"),
        (originals.cifar_pickled_batch(IMAGES[:4, :16, :16]), r"\[N, 3072\].*got uint8 \[4, 768\]"),
        (b"", "EOFError"),
    ],
)
def test_pickles_that_are_no_batch(tmp_path, capsys, content, message):
    files = batches("py")
    files["cifar-10-batches-py/data_batch_3"] = content
    originals.write_folder(tmp_path, files)
    with pytest.raises(data.DataError, match=message):
        data.load("cifar10", data_dir=str(tmp_path))
    assert "must not be printed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cifar-10-batches-bin/test_batch.bin": None}, r"missing test_batch\.bin.*fetch"),
        ({"cifar-10-batches-bin/data_batch_2.bin": b"1234"}, r"data_batch_2\.bin must be whole"),
        (
            {"cifar-10-batches-bin/test_batch.bin": originals.cifar_binary_batch(IMAGES[:5])},
            r"test_batch\.bin must hold 4 images; got 5",
        ),
    ],
)
def test_incomplete_archives(tmp_path, change, message):
    files = {name: x for name, x in (batches("bin") | change).items() if x is not None}
    originals.write_tar(tmp_path / "cifar-10-binary.tar.gz", files, "w:gz")
    with pytest.raises(data.DataError, match=message):
        data.load("cifar10", data_dir=str(tmp_path))


def test_a_torn_archive(tmp_path):
    originals.write_tar(tmp_path / "whole.tar.gz", batches("bin"), "w:gz")
    torn = (tmp_path / "whole.tar.gz").read_bytes()[:2000]
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(torn)
    with pytest.raises(data.DataError, match=r"cifar-10-binary\.tar\.gz must be whole"):
        data.load("cifar10", data_dir=str(tmp_path))


def test_what_is_missing_is_named_with_its_place(tmp_path, monkeypatch):
    originals.refuse_downloads(monkeypatch, ConnectionError("no network"))
    with pytest.raises(data.DataError, match=r"no network.*cifar-10-binary\.tar\.gz") as caught:
        data.load("cifar10", data_dir=str(tmp_path))
    assert f"into {tmp_path};" in str(caught.value)
