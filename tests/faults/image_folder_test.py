"""Folders of images as people have them: linked, unreadable, oddly named, with bad files among them."""

import os

import numpy as np
import pytest
from PIL import Image

import commands
import lcma_tf
from lcma_tf import data
from lcma_tf.data.sources.image_folder import hashed_split
from lcma_tf.experiment.workdir import Workdir

SPLITS = ("train", "validation", "test")


def save(path, value, size=(2, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


def values(images):
    """Of every split what tells its images apart, in order."""
    return {split: getattr(images, split)[:, 0, 0, 0].tolist() for split in SPLITS}


@pytest.fixture
def folder(tmp_path):
    """Splits by folder, two images each: 1 to 6."""
    for index, split in enumerate(SPLITS):
        save(tmp_path / "images" / split / "a.png", 2 * index + 1)
        save(tmp_path / "images" / split / "b.png", 2 * index + 2)
    return tmp_path / "images"


PLAIN = {"train": [1, 2], "validation": [3, 4], "test": [5, 6]}


def load(folder, **options):
    return data.load(f"image_folder:{folder}", **options)


def test_links_to_folders_are_followed(folder, tmp_path):
    save(tmp_path / "elsewhere" / "deep" / "c.png", 7)
    save(tmp_path / "third" / "d.png", 8)
    (folder / "train" / "aa").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "deep" / "on").symlink_to(tmp_path / "third")
    assert values(load(folder)) == {**PLAIN, "train": [1, 7, 8, 2]}  # In order of the names.


def test_a_folder_is_read_once_whatever_leads_to_it(folder, tmp_path):
    save(folder / "train" / "z" / "c.png", 7)
    save(tmp_path / "elsewhere" / "d.png", 8)
    (folder / "train" / "a").symlink_to(folder / "train" / "z")  # The real folder's name counts.
    (folder / "train" / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "train" / "and_again").symlink_to(tmp_path / "elsewhere")
    for name, up in (("self", "."), ("up", ".."), ("to_test", "../test"), ("root", "../..")):
        (folder / "train" / name).symlink_to(up)
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    assert values(load(folder)) == {**PLAIN, "train": [1, 8, 2, 7]}


def test_a_split_may_be_a_link(folder, tmp_path):
    (folder / "train").rename(tmp_path / "moved")
    (folder / "train").symlink_to(tmp_path / "moved")
    assert values(load(folder)) == PLAIN
    (folder / "test" / "a.png").unlink()
    (folder / "test" / "b.png").unlink()
    (folder / "test").rmdir()
    (folder / "test").symlink_to("validation")
    assert values(load(folder)) == {**PLAIN, "test": [3, 4]}


def test_the_split_by_names_is_that_of_the_names_without_links(tmp_path):
    """Pinned: which split a name belongs to may never change."""
    names = ("0.png", "4.png", "1.png", "ü.png", "a/b.jpg", os.fsdecode(b"\xff\x15.png"))
    expected = ["train", "validation", "test", "train", "train", "test"]
    assert [hashed_split(name) for name in names] == expected
    for number in range(40):
        save(tmp_path / "images" / f"{number % 2}" / f"{number}.png", number)
    before = values(load(tmp_path / "images"))
    (tmp_path / "images" / "00").symlink_to("1")
    save(tmp_path / "elsewhere" / "a.png", 99)
    (tmp_path / "images" / "more").symlink_to(tmp_path / "elsewhere")
    after = values(load(tmp_path / "images"))
    assert [v for split in SPLITS for v in after[split] if v != 99] == [
        v for split in SPLITS for v in before[split]
    ]
    assert sum(len(after[split]) for split in SPLITS) == 41


@pytest.mark.parametrize("place", ["train/closed", "train", "elsewhere"])
def test_a_folder_that_may_not_be_read_is_named(place, folder, tmp_path, monkeypatch):
    """By a refusal of the system call: the permission bits do not bind every user."""
    save(folder / "train" / "closed" / "c.png", 7)
    save(folder / "elsewhere" / "c.png", 7)
    (folder / "train" / "link").symlink_to(folder / "elsewhere")
    scandir = os.scandir

    def refuses(path):
        if os.path.samefile(path, folder / place):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    name = "train/link" if place == "elsewhere" else place
    with pytest.raises(data.DataError, match=f"{folder}/{name} is not: Permission denied"):
        load(folder, skip_bad_images=True)


def test_a_link_that_leads_nowhere_is_not_passed_over(folder, tmp_path):
    (folder / "train" / "notes.txt").symlink_to(tmp_path / "none")  # No image, whatever it was.
    assert values(load(folder)) == PLAIN
    (folder / "train" / "disk").symlink_to(tmp_path / "none")
    with pytest.raises(data.DataError, match="train/disk is not: No such file"):
        load(folder)
    (folder / "train" / "disk").unlink()
    (folder / "train" / "c.png").symlink_to(tmp_path / "none")
    with pytest.raises(data.DataError, match=r"train/c\.png is not: it must be readable; No such"):
        load(folder)
    images = load(folder, skip_bad_images=True)
    assert values(images) == PLAIN and "train/c.png (must be readable" in images.description


def test_names_that_are_no_utf8_are_read(tmp_path):
    odd = tmp_path / os.fsdecode(b"\xff\x15.png")
    for number in range(12):
        save(tmp_path / f"{number}.png", number)
    try:
        save(odd, 77)
    except OSError:
        pytest.skip("This file system has names in UTF-8 alone.")
    assert values(load(tmp_path))["test"] == [1, 77]
    odd.write_bytes(b"")
    with pytest.raises(data.DataError, match=r"\\xff\x15\.png is not"):
        load(tmp_path)
    images = load(tmp_path, skip_bad_images=True)
    assert images.description.encode() and "1 bad image file" in images.description  # Printable.
    odd_folder = tmp_path / os.fsdecode(b"\xfe")
    for split in SPLITS:
        save(odd_folder / split / "a.png", 3)
    assert load(odd_folder).name.encode().endswith(b"\\xfe")


def test_bad_files_are_an_error_that_says_how_to_go_on(folder):
    (folder / "train" / "c.png").write_bytes(b"GIF89a")
    with pytest.raises(data.DataError) as caught:
        load(folder)
    message = str(caught.value)
    assert f"{folder}/train/c.png is not: it must be a PNG or a JPEG file" in message
    assert "it is a GIF file; `skip_bad_images` leaves such files out" in message


def test_bad_files_are_left_out_counted_and_named(folder):
    good = load(folder, skip_bad_images=True)
    assert values(good) == PLAIN and good.description == "Splits by folder."
    whole = (folder / "train" / "a.png").read_bytes()
    (folder / "test" / "0.jpg").write_bytes(whole[:-5])
    one = load(folder, skip_bad_images=True)
    assert values(one) == PLAIN and one.fingerprint == good.fingerprint
    expected = (
        "1 bad image file was left out: test/0.jpg (must be a whole PNG file; it is cut short)."
    )
    assert one.description == f"Splits by folder. {expected}"
    for number in range(7):
        (folder / "train" / f"{number}.png").write_bytes(b"")
    eight = load(folder, skip_bad_images=True)
    assert values(eight) == PLAIN
    assert "8 bad image files were left out: train/0.png (must be a PNG" in eight.description
    assert "train/4.png" in eight.description and "train/5.png" not in eight.description
    assert eight.description.endswith(" and 3 more.")


def test_a_split_of_bad_files_alone_is_refused(folder):
    for file in (folder / "test").iterdir():
        file.write_bytes(b"")
    with pytest.raises(data.DataError, match=r"found 2 train, 2 validation, 0 test\. 2 bad image"):
        load(folder, skip_bad_images=True)


def test_only_folders_have_bad_files_to_skip(tmp_path):
    name = commands.write_npz(tmp_path / "a.npz")
    with pytest.raises(data.DataError, match="`skip_bad_images` must be False for any set but"):
        data.load(name, skip_bad_images=True)


def test_a_run_says_what_it_leaves_out_and_remembers_that_it_does(folder, tmp_path, monkeypatch):
    def start_training(*args):
        raise lcma_tf.ConfigError("Training has begun.")

    monkeypatch.setattr("lcma_tf.experiment.run.train_flow", start_training)
    for file in folder.rglob("*.png"):
        save(file, 5, size=(8, 8))
    (folder / "train" / "c.png").write_bytes(b"BM")
    flags = {**commands.TINY, "batch_size": 2, "dataset": f"image_folder:{folder}"}
    command = commands.as_flags(**flags, workdir=tmp_path / "run")
    refused = commands.call("lcma_tf.train", *command)
    commands.assert_refused(refused, "train/c.png it is a BMP file; `skip_bad_images` leaves such")
    assert not (tmp_path / "run").exists()
    begun = commands.call("lcma_tf.train", *command, "--skip_bad_images")
    assert begun.err == "error: Training has begun."
    assert "1 bad image file was left out: train/c.png (must be a PNG or a JPEG" in begun.out
    assert Workdir(tmp_path / "run").read_configs()[1].skip_bad_images
    refused = commands.call("lcma_tf.train", *command, "--noskip_bad_images")
    commands.assert_refused(refused, "train/c.png")
    (folder / "train" / "c.png").unlink()
    refused = commands.call("lcma_tf.train", *command)
    commands.assert_refused(refused, "skip_bad_images=True there and False now")
