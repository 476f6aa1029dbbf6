"""Inputs as rows: every one once and in order, from any on; damage is told, what is none refused."""

import os
import pathlib
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

import original_archives
from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.pictures import Pictures
from lcma_tf.batch.rows import open_input
from lcma_tf.data import DataError
from lcma_tf.image_files import ImageFileError
from record_files import read_records, write_records
from testing import random_images

SHAPE = (6, 4, 3)
IMAGES = random_images(7, SHAPE)
PICTURES = Pictures(SHAPE, SHAPE)


def png(image):
    return tf.io.encode_png(image).numpy()


def example(data, name="image/encoded"):
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
    features = tf.train.Features(feature={name: value})
    return tf.train.Example(features=features).SerializeToString()


def make_folder(folder):
    for index, image in enumerate(IMAGES):
        path = folder / "images" / ("b" if index < 3 else "c") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return str(folder / "images")


def make_pattern(folder):
    return f"{make_folder(folder)}/**/*.png"


def make_npz(folder):
    labels = np.arange(len(IMAGES))
    np.savez_compressed(folder / "a.npz", first=IMAGES[:3], labels=labels, second=IMAGES[3:])
    return f"npz:{folder / 'a.npz'}"


def make_npz_array(folder):
    np.savez(folder / "a.npz", other=IMAGES[:2], mine=IMAGES)
    return f"npz:{folder / 'a.npz'}:mine"


def make_fortran_npz(folder):
    np.savez(folder / "a.npz", images=np.asfortranarray(IMAGES))
    return f"npz:{folder / 'a.npz'}"


def make_tfds(folder):
    original_archives.prepare_by_tfds(folder, "toy_images", {"test": list(IMAGES)}, "image")
    return "tfds:toy_images"


def make_tfds_part(folder):
    splits = {"train": [*IMAGES, *IMAGES[:3]]}
    original_archives.prepare_by_tfds(folder, "toy_images", splits, "image")
    return "tfds:toy_images:train[:7]"


def make_parquet(folder):
    table = pa.table({"id": range(7), "picture": [png(image) for image in IMAGES]})
    pq.write_table(table, folder / "a.parquet", row_group_size=3)
    return f"parquet:{folder / 'a.parquet'}:picture"


def make_parquet_of_structs(folder):
    pictures = [{"bytes": png(image), "path": "a.png"} for image in IMAGES]
    pq.write_table(pa.table({"image": pictures}), folder / "a.parquet")
    return f"parquet:{folder / 'a.parquet'}:image"


def make_records(folder):
    for name, part in (("a-1", IMAGES[:3]), ("a-2", IMAGES[3:])):
        write_records(folder / name, [example(png(image)) for image in part])
    return f"tfrecord:{folder}/a-*"


def make_records_of_a_feature(folder):
    write_records(folder / "a", [example(png(image), "mine") for image in IMAGES])
    return f"tfrecord:{folder / 'a'}:mine"


def make_records_of_files(folder):
    write_records(folder / "a", [png(image) for image in IMAGES])
    return f"tfrecord:{folder / 'a'}"


IN_FOLDERS = [f"b/{i}.png" if i < 3 else f"c/{i}.png" for i in range(7)]
IN_ARRAYS = [f"first/{i}" for i in range(3)] + [f"second/{i}" for i in range(4)]
NAMES = {make_folder: IN_FOLDERS, make_pattern: IN_FOLDERS, make_npz: IN_ARRAYS}
MAKERS = [
    *(make_folder, make_pattern, make_npz, make_npz_array, make_fortran_npz),
    *(make_tfds, make_tfds_part, make_parquet, make_parquet_of_structs),
    *(make_records, make_records_of_a_feature, make_records_of_files),
]


@pytest.mark.parametrize("make", MAKERS)
def test_every_row_is_there_once_and_in_order_from_any_on(make, tmp_path):
    rows = open_input(make(tmp_path), str(tmp_path))
    assert len(rows) == len(IMAGES) and rows.note == ""
    names = NAMES.get(make, [f"{index}" for index in range(7)])
    for start in (0, 2, 3, 6, 7):
        found = list(rows.read(start))
        assert [row.name for row in found] == names[start:]
        for row, image in zip(found, IMAGES[start:], strict=True):
            np.testing.assert_array_equal(PICTURES.image(row.content), image)


@pytest.mark.parametrize("make", [make_folder, make_npz, make_parquet, make_records])
def test_its_digest_is_that_of_what_is_there(make, tmp_path):
    name = make(tmp_path)
    digest = open_input(name).digest
    assert open_input(name).digest == digest
    changed = max(path for path in tmp_path.rglob("*") if path.is_file())
    os.utime(changed, ns=(1, 1))
    assert open_input(name).digest != digest


def test_parts_of_an_input_have_digests_of_their_own(tmp_path):
    make_npz(tmp_path)
    names = [f"npz:{tmp_path}/a.npz{part}" for part in ("", ":first", ":second")]
    assert len({open_input(name).digest for name in names}) == 3


def test_files_of_other_kinds_are_counted(tmp_path):
    name = make_folder(tmp_path)
    (pathlib.Path(name) / "notes.txt").touch()
    assert open_input(name).note == "1 file was skipped by suffix: 1 .txt."


def test_an_array_is_not_in_memory_whole(tmp_path):
    import tracemalloc

    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((2000, 64, 64, 3), np.uint8))
    rows = open_input(f"npz:{tmp_path / 'a.npz'}")
    tracemalloc.start()
    assert sum(1 for _ in rows.read(0)) == 2000
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000  # Of 24 MB.


@pytest.mark.parametrize("feature", ["", "mine"])
def test_a_damaged_record_is_one_row_without_an_image(feature, tmp_path):
    name = (make_records_of_a_feature if feature else make_records_of_files)(tmp_path)
    path, records = tmp_path / "a", read_records(tmp_path / "a")
    data = bytearray(path.read_bytes())
    for index in (1, 2, 6):
        start = sum(len(record) + 16 for record in records[:index])
        data[start + 12 + 40] ^= 1
    path.write_bytes(data)
    rows = open_input(name)
    for start in (0, 2):
        found = list(rows.read(start))
        assert [row.name for row in found] == [f"{index}" for index in range(start, 7)]
        damaged = [int(row.name) for row in found if isinstance(row.content, ImageFileError)]
        assert damaged == [index for index in (1, 2, 6) if index >= start]


def test_records_without_an_image_say_so(tmp_path):
    write_records(tmp_path / "a", [b"\xff\xff no example", example(b"x", "label"), b""])
    found = [row.content for row in open_input(f"tfrecord:{tmp_path / 'a'}").read(0)]
    for content, words in zip(found, ("it is neither", "it has label", "it has "), strict=True):
        assert isinstance(content, ImageFileError) and words in str(content)


def test_a_null_of_a_column_says_so(tmp_path):
    table = pa.table({"image": pa.array([None, png(IMAGES[0])], pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = open_input(f"parquet:{tmp_path / 'a.parquet'}:image").read(0)
    assert "it is null" in str(first.content) and second.content == png(IMAGES[0])


def damaged_npz(folder):
    path = folder / "a.npz"
    np.savez(path, images=random_images(500, SHAPE))
    data = bytearray(path.read_bytes())
    data[400] ^= 1  # Of the pixels; what zip says of the array is behind them.
    path.write_bytes(data)
    return f"npz:{path}"


def test_a_damaged_array_ends_it(tmp_path):
    rows = open_input(damaged_npz(tmp_path))
    with pytest.raises(BatchError, match="whole .npz archive; reading `images` .* failed: Bad CRC"):
        list(rows.read(0))


def write(folder, name, data=b""):
    (folder / name).write_bytes(data)
    return folder / name


def parquet_of(folder, **columns):
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return f"parquet:{folder / 'a.parquet'}"


def npz_of(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return f"npz:{folder / 'a.npz'}"


REFUSED = {
    "no folder": (lambda folder: f"{folder}/none", "must be an existing folder, or a pattern"),
    "no name": (lambda folder: "", "must be an existing folder, or a pattern"),
    "an empty folder": (lambda folder: f"{folder}", "must hold an image; got"),
    "no match": (lambda folder: f"{folder}/*.png", "must be an existing folder, or a pattern"),
    "other files": (lambda folder: f"{write(folder, 'a.txt').parent}", "skipped by suffix: 1 .txt"),
    "no npz": (lambda folder: f"npz:{folder}/a.npz", "must name an existing file"),
    "a torn npz": (lambda folder: f"npz:{write(folder, 'a.npz', b'PK')}", "a whole .npz archive"),
    "an npz of floats": (lambda folder: npz_of(folder, a=np.ones((2, 4, 4, 1))), "uint8 array of"),
    "an npz without it": (lambda folder: npz_of(folder, a=IMAGES) + ":b", "got 'b', found a"),
    "an npz of no image": (lambda folder: npz_of(folder, a=IMAGES[:0]), "must hold an image"),
    "no column named": (lambda folder: "parquet:a", "must be parquet:FILE:COLUMN"),
    "no Parquet file": (lambda folder: f"parquet:{folder}/a:b", "must name an existing file"),
    "a torn one": (lambda folder: f"parquet:{write(folder, 'a')}:b", "a whole Parquet file"),
    "no such column": (lambda folder: f"{parquet_of(folder, a=[b'x'])}:b", "got 'b', found a"),
    "of numbers": (lambda folder: f"{parquet_of(folder, a=[1])}:a", "binary; 'a' is int64"),
    "of no row": (lambda folder: f"{parquet_of(folder, a=pa.array([], 'binary'))}:a", "an image"),
    "no records": (lambda folder: f"tfrecord:{folder}/none", "must name an existing file of"),
    "an empty file": (lambda folder: f"tfrecord:{write(folder, 'a')}", "must hold an image"),
    "torn records": (
        lambda folder: f"tfrecord:{write(folder, 'a', struct.pack('<Q', 9) + b'x' * 10)}",
        "must be whole TFRecord files, not compressed; .* from its byte 0 on",
    ),
    "no split": (lambda folder: f"{make_tfds(folder)}:validation", "one of test or a part of one"),
    "no set's name": (lambda folder: "tfds:", "must be tfds:NAME or tfds:NAME:SPLIT"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_input_is_refused(case, tmp_path):
    make, words = REFUSED[case]
    with pytest.raises(BatchError, match=words):
        open_input(make(tmp_path), str(tmp_path))


def test_a_set_that_tfds_has_not_is_no_input():
    words = "`input` must be tfds: and the name of .*; got 'ciphar10'; did you mean cifar10 or"
    with pytest.raises(DataError, match=words):
        open_input("tfds:ciphar10")


def test_a_picture_that_is_no_file_has_a_row(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "none.png")
    first, second = open_input(str(tmp_path)).read(0)
    np.testing.assert_array_equal(PICTURES.image(first.content), IMAGES[0])
    with pytest.raises(ImageFileError, match="must be readable"):
        PICTURES.image(second.content)
