"""CelebA from an archive laid out like the original: partition, crop, and both resamplers."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import original_archives as originals
from cached_loads import assert_same_through_cache
from lcma_tf import data
from lcma_tf.data.sources import celeb_a as celeba_source

COUNTS = {"train": 5, "validation": 2, "test": 3}
# The official list goes train, validation, test; mixed here, so that order alone does not pass.
PARTITION = [0, 2, 0, 1, 0, 0, 2, 1, 0, 2]
FACES = originals.pictures(10, 218, 178)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    official = {"train": 162_770, "validation": 19_867, "test": 19_962}
    assert official == celeba_source.COUNTS
    assert sum(official.values()) == 202_599
    monkeypatch.setattr(celeba_source, "COUNTS", COUNTS)


def jpegs(faces=FACES):
    return {
        f"img_align_celeba/{n:06d}.jpg": originals.encoded(x, "JPEG")
        for n, x in enumerate(faces, 1)
    }


def partition(numbers=PARTITION):
    return "".join(f"{n:06d}.jpg {number}\n" for n, number in enumerate(numbers, 1)).encode()


def write(folder, packed=True, pictures=None, listed=None):
    pictures = jpegs() if pictures is None else pictures
    if packed:
        originals.write_zip(folder / "img_align_celeba.zip", pictures)
    else:
        originals.write_folder(folder, pictures)
    (folder / "list_eval_partition.txt").write_bytes(partition() if listed is None else listed)


def cropped(split):
    """The faces of a split, decoded by Pillow and cropped, uint8 `[N, 148, 148, 3]`."""
    files = list(jpegs().values())
    wanted = {"train": 0, "validation": 1, "test": 2}[split]
    decoded = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
    return np.stack([x for x, number in zip(decoded, PARTITION, strict=True) if number == wanted])[
        :, 40:188, 15:163
    ]


@pytest.mark.parametrize("packed", [True, False])
def test_antialias_is_the_default_and_8_bit(tmp_path, packed):
    write(tmp_path, packed)
    images = data.load("celeb_a", data_dir=str(tmp_path))
    for split in COUNTS:
        expected = [
            np.asarray(Image.fromarray(face).resize((64, 64), Image.Resampling.BILINEAR))
            for face in cropped(split)
        ]
        np.testing.assert_array_equal(getattr(images, split), expected)
    assert images.jpeg_method == "INTEGER_ACCURATE"
    assert "official partition" in images.description
    assert "'antialias' (8-bit pixels)" in images.description
    assert_same_through_cache(tmp_path / "cache", images, "celeb_a", data_dir=str(tmp_path))


def test_program_is_the_resize_of_tensorflow_1(tmp_path):
    write(tmp_path)
    images = data.load("celeb_a", data_dir=str(tmp_path), resampler="program")
    for split in COUNTS:
        expected = tf.compat.v1.image.resize_bilinear(
            cropped(split), (64, 64), align_corners=False, half_pixel_centers=False
        )
        assert getattr(images, split).dtype == np.float32
        np.testing.assert_array_equal(getattr(images, split), expected)
    assert (images.train % 1 > 0).mean() > 0.5  # Real-valued indeed.
    assert "'program' (real-valued pixels)" in images.description


def test_other_sizes_and_the_folders_of_the_official_download(tmp_path):
    (tmp_path / "Img").mkdir()
    (tmp_path / "Eval").mkdir()
    originals.write_zip(tmp_path / "Img" / "img_align_celeba.zip", jpegs())
    (tmp_path / "Eval" / "list_eval_partition.txt").write_bytes(partition())
    for resampler in ("program", "antialias"):
        images = data.load("celeb_a", str(tmp_path), image_size=32, resampler=resampler)
        assert images.test.shape == (3, 32, 32, 3)


def test_from_tfds_it_is_cropped_too(tmp_path):
    face = np.zeros((218, 178, 3), np.uint8)
    face[40:188, 15:163] = 100
    splits = {split: [face] * count for split, count in COUNTS.items()}
    originals.prepare_by_tfds(tmp_path, "celeb_a", splits)
    images = data.load("celeb_a", data_dir=str(tmp_path))
    real = data.load("celeb_a", data_dir=str(tmp_path), resampler="program")
    assert images.train.shape == (5, 64, 64, 3)
    assert images.jpeg_method == "INTEGER_FAST"
    assert "TensorFlow Datasets celeb_a/" in images.description
    np.testing.assert_array_equal(images.test, 100)
    assert real.test.dtype == np.float32
    np.testing.assert_array_equal(real.test, 100)


def test_from_tfds_with_other_counts(tmp_path):
    splits = {split: FACES[:2] for split in COUNTS}
    originals.prepare_by_tfds(tmp_path, "celeb_a", splits)
    message = "partition, 5 train, 2 validation, 3 test images; got 2 train, 2 val"
    with pytest.raises(data.DataError, match=message):
        data.load("celeb_a", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pictures": jpegs(FACES[:9])}, r"000010\.jpg must be whole.*KeyError"),
        ({"pictures": jpegs(FACES[:, :200])}, r"000001\.jpg must be .* 178x218; got 178x200"),
        (
            {"pictures": jpegs() | {"img_align_celeba/000004.jpg": b""}},
            r"000004\.jpg must be whole",
        ),
        ({"listed": partition()[:-14]}, "5 train, 2 validation, 3 test images; got 5 .* 2 test"),
        ({"listed": b"000001.jpg\n"}, r"list_eval_partition\.txt must be whole"),
        ({"listed": b"000001.jpg 3\n"}, r"list_eval_partition\.txt must be whole"),
        ({"listed": b"000001.jpg -1\n"}, r"list_eval_partition\.txt must be whole"),
    ],
)
def test_files_that_are_not_the_originals(tmp_path, options, message):
    write(tmp_path, **options)
    with pytest.raises(data.DataError, match=message):
        data.load("celeb_a", data_dir=str(tmp_path))


def test_what_is_missing_is_named_with_its_place(tmp_path, monkeypatch):
    originals.refuse_downloads(monkeypatch, ConnectionError("quota exceeded"))
    with pytest.raises(data.DataError, match=r"quota exceeded.*fetch img_align_celeba\.zip and"):
        data.load("celeb_a", data_dir=str(tmp_path))
    (tmp_path / "list_eval_partition.txt").write_bytes(partition())
    with pytest.raises(data.DataError, match=r"but no img_align_celeba\.zip; fetch") as caught:
        data.load("celeb_a", data_dir=str(tmp_path))
    assert f"into {tmp_path};" in str(caught.value)
    (tmp_path / "list_eval_partition.txt").unlink()
    (tmp_path / "img_align_celeba.zip").write_bytes(b"torn")
    with pytest.raises(data.DataError, match=r"but no list_eval_partition\.txt"):
        data.load("celeb_a", data_dir=str(tmp_path))
    (tmp_path / "list_eval_partition.txt").write_bytes(partition())
    with pytest.raises(data.DataError, match=r"img_align_celeba\.zip must be whole"):
        data.load("celeb_a", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "resampler", "message"),
    [
        ("celeb_a", "box", "one of antialias, program; got 'box'"),
        ("mnist", "program", "must be antialias for any set but celeb_a; got 'program' for mnist"),
        ("celeb_a/x", "antialias", "must be celeb_a"),
    ],
)
def test_bad_names(tmp_path, name, resampler, message):
    with pytest.raises(data.DataError, match=message):
        data.load(name, data_dir=str(tmp_path), resampler=resampler)
