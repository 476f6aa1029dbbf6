"""Folders of images as people have them: linked, unreadable, oddly named, with bad files among them."""

import os

import numpy as np
import pytest
from PIL import Image

import commands
import lcma_tf
from lcma_tf import data
from lcma_tf.data.sources import folder_walk
from lcma_tf.data.sources.image_folder import hashed_split
from lcma_tf.experiment.run_images import load_images, whose_images
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


@pytest.fixture
def ten(tmp_path):
    """Ten files without splits: by hash 8, 1 (4.png) and 1 (1.png)."""
    for number in range(10):
        save(tmp_path / "ten" / f"{number}.png", number)
    return tmp_path / "ten"


def test_a_folder_without_splits_is_scored_whole(ten):
    whole = data.load_for_scoring(f"image_folder:{ten}")
    assert whole.split == "all" and whole.images[:, 0, 0, 0].tolist() == list(range(10))
    assert whole.file_names == tuple(f"{number}.png" for number in range(10))
    assert whole.description == "No splits: all files."
    padded = data.load_for_scoring(f"image_folder:{ten}", pad_to=4)
    assert padded.image_shape == (4, 4, 3) and padded.num_original_dimensions == 2 * 2 * 3


@pytest.mark.parametrize("by_folder", [True, False])
def test_one_split_is_scored_and_no_other_file_is_opened(by_folder, ten, folder):
    place = folder if by_folder else ten
    expected = load(place)
    for bad in (folder / "train" / "c.png", folder / "validation" / "c.png", ten / "0.png"):
        bad.write_bytes(b"")
    (folder / "test" / "again").symlink_to("../train")
    scored = data.load_for_scoring(f"image_folder:{place}", split="test")
    assert scored.split == "test" and scored.fingerprint == expected.fingerprint["test"]
    assert scored.file_names == (("test/a.png", "test/b.png") if by_folder else ("1.png",))


def test_where_there_are_sub_folders_the_one_that_is_scored_must_be_there(folder):
    (folder / "validation").rename(folder / "more")
    assert data.load_for_scoring(f"image_folder:{folder}").file_names[0] == "test/a.png"
    with pytest.raises(data.DataError, match="must have a folder validation to score that split"):
        data.load_for_scoring(f"image_folder:{folder}", split="validation")


def test_too_few_files_for_a_split_say_what_to_do(ten):
    (ten / "1.png").unlink()
    for refuses in (load, lambda f: data.load_for_scoring(f"image_folder:{f}", split="test")):
        with pytest.raises(data.DataError) as caught:
            refuses(ten)
        message = str(caught.value)
        assert "found 8 train, 1 validation, 0 test by hash of the file names" in message
        assert "sub-folders train, validation and test" in message
        assert "`validation_share`" in message
    larger = load(ten, validation_share=0.3)
    assert [len(getattr(larger, split)) for split in SPLITS] == [1, 3, 5]
    assert larger.description == "Splits by hash of the file name, about 40 / 30 / 30 %."


def test_a_larger_share_of_validation_only_adds_to_it():
    names = [f"{number}.png" for number in range(2000)]
    before = {name: hashed_split(name, 0.05) for name in names}
    for share in (0.1, 0.2, 0.33):
        now = {name: hashed_split(name, share) for name in names}
        assert all(now[n] == before[n] for n in names if before[n] != "train")
        for split in ("validation", "test"):
            assert abs(list(now.values()).count(split) / 2000 - share) < 0.03
        before = now
    halves = [hashed_split(name, 0.5) for name in names]
    assert abs(halves.count("train") / 2000 - 0.25) < 0.03


def test_a_share_is_for_what_has_no_splits(folder, tmp_path):
    with pytest.raises(data.DataError, match="`validation_share` must be None where sub-folders"):
        load(folder, validation_share=0.2)
    whole = commands.write_npz(tmp_path / "a.npz")
    with pytest.raises(data.DataError, match="`validation_share` must be None, as the set has"):
        data.load(whole, validation_share=0.2)
    for share in (0, 0.6, float("nan")):
        with pytest.raises(data.DataError, match=r"`validation_share` must be None or in \(0, 0.5"):
            load(folder, validation_share=share)
    with pytest.raises(
        data.DataError, match="`validation_share` must be None for any set but npz,"
    ):
        data.load("photo_patches", validation_share=0.2)


def test_an_archive_without_all_splits(tmp_path):
    train = commands.splits()["train"]
    name = commands.write_npz(tmp_path / "a.npz", train=train)
    with pytest.raises(data.DataError, match="missing validation, test.*`validation_share` cuts"):
        data.load(name)
    images = data.load(name, validation_share=0.25)
    assert [len(getattr(images, split)) for split in SPLITS] == [12, 6, 6]
    assert np.array_equal(images.test, train[-6:])
    scored = data.load_for_scoring(name, split="test", validation_share=0.25)
    assert scored.fingerprint == images.fingerprint["test"]
    alone = commands.write_npz(tmp_path / "b.npz", test=train, train=np.zeros(3))
    assert np.array_equal(data.load_for_scoring(alone).images, train)
    with pytest.raises(data.DataError, match="missing validation, found test, train"):
        data.load_for_scoring(alone, split="validation")
    both = commands.write_npz(tmp_path / "c.npz", test=train[:3], validation=train[3:])
    usual = data.load_for_scoring(both, usual_split="validation")
    assert usual.split == "validation" and np.array_equal(usual.images, train[3:])
    with pytest.raises(data.DataError, match="missing train, found test, validation"):
        data.load_for_scoring(both, usual_split="train")


@pytest.mark.parametrize(("array", "split"), [("images", "all"), ("validation", "validation")])
def test_the_only_array_of_an_archive_is_scored_whatever_its_name(array, split, tmp_path):
    images = commands.splits()["train"]
    name = commands.write_npz(tmp_path / "a.npz", **{array: images})
    found = data.load_for_scoring(name)
    assert found.split == split and np.array_equal(found.images, images)
    with pytest.raises(data.DataError, match=f"missing test, found {array}"):
        data.load_for_scoring(name, split="test")


def test_what_was_done_to_files_is_said_once_with_a_count(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / f"grey{number}.png")
    save(tmp_path / "large.png", 1, size=(9, 8))
    save(tmp_path / "small.png", 2, size=(3, 8))
    Image.new("RGBA", (4, 4)).save(tmp_path / "rgba.png")
    Image.new("P", (4, 4)).save(tmp_path / "palette.png", transparency=0)
    for name in ("a.webp", "b.WEBP", "c.gif", "README", ".DS_Store"):
        (tmp_path / name).write_bytes(b"?")
    images = data.load_for_scoring(f"image_folder:{tmp_path}", image_size=4)
    assert images.images[:3].tolist() == np.full((3, 4, 4, 3), 9).tolist()
    assert images.description == (
        "No splits: all files. 1 file was enlarged, which smooths and flatters bits/dim. "
        "3 files were grey and became RGB. 2 files were transparent somewhere, which was dropped. "
        "4 files were skipped by suffix: 2 .webp, 1 .gif, 1 without one."
    )
    for file in tmp_path.glob("[lsrp]*.png"):
        file.unlink()
    alone = data.load_for_scoring(f"image_folder:{tmp_path}")
    assert alone.image_shape == (4, 4, 1) and "grey" not in alone.description
    for file in tmp_path.glob("*.png"):
        file.unlink()
    with pytest.raises(data.DataError, match=r"file to score; found none\. 4 files were skipped"):
        data.load_for_scoring(f"image_folder:{tmp_path}")


def test_the_folder_of_a_run_is_known_where_it_has_moved(ten, tmp_path):
    """Its test images alone are scored: it was trained on the others."""
    run = lcma_tf.TrainConfig(dataset=f"image_folder:{ten}")
    flow = lcma_tf.FlowConfig((2, 2, 3), num_scales=1)
    workdir = Workdir(tmp_path / "run")
    workdir.claim(flow, run, load(ten).fingerprint)
    own = load_images(workdir, flow, run)
    assert own.file_names == ("1.png",) and whose_images(workdir, own)[0]
    ten.rename(tmp_path / "moved")
    moved = load_images(workdir, flow, run, dataset=f"image_folder:{tmp_path / 'moved'}")
    assert moved.split == "test" and moved.fingerprint == own.fingerprint
    assert "by hash of the name" in moved.description
    place = f"image_folder:{tmp_path / 'moved'}"
    usual = load_images(workdir, flow, run, dataset=place, usual_split="validation")
    assert usual.split == "validation"
    assert usual.fingerprint == workdir.read_fingerprint()["validation"]
    save(tmp_path / "moved" / "1.png", 77)
    others = load_images(workdir, flow, run, dataset=f"image_folder:{tmp_path / 'moved'}")
    assert others.split == "all" and len(others.images) == 10
    assert whose_images(workdir, others)[0] is False


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

    monkeypatch.setattr("lcma_tf.training.phase.TrainingPhase.run", start_training)
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
    commands.assert_refused(refused, "skip_bad_images=True there and False now")
    (folder / "train" / "c.png").unlink()
    refused = commands.call("lcma_tf.train", *command)
    commands.assert_refused(refused, "skip_bad_images=True there and False now")


@pytest.mark.parametrize(("seconds", "shown"), [(-1.0, True), (60.0, False)])
def test_a_walk_that_takes_long_counts_what_it_found(tmp_path, monkeypatch, capsys, seconds, shown):
    for name in ("a/1.png", "a/2.txt", "b/c/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(folder_walk, "_SECONDS", seconds)
    (files,), skipped = folder_walk.walk("images", [tmp_path])
    assert list(map(folder_walk.relative_names(tmp_path), files)) == ["a/1.png", "b/c/3.jpg"]
    assert skipped == {".txt": 1}
    assert ("6/" in capsys.readouterr().out) == shown  # Entries, the three folders among them.
