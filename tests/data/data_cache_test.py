"""The cache of decoded images: the pixels without it, decoded once, gone on with, shared, checked."""

import json
import shutil
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image

from cached_loads import assert_same_through_cache
from lcma_tf import data
from lcma_tf.data.cache import entry, file_sink, open_store
from lcma_tf.data.cache.rows import row_reader
from lcma_tf.data.sources import folder_reader
from lcma_tf.files.folder_lock import folder_lock
from lcma_tf.files.saving import SaveError

OPTIONS = {"image_size": 4, "skip_bad_images": True}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Grey files, a coloured one behind them, one with transparency and one that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(60):
        shape = (6, 8, 3) if number > 40 else (6, 8)
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
        if number == 20:
            image.putalpha(7)
        image.save(folder / f"{number:02}.png")
    (folder / "45_bad.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def plain(pictures):
    return data.load(f"image_folder:{pictures}", **OPTIONS)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 5 images; fingerprints are others by them."""
    monkeypatch.setattr("lcma_tf.data.fingerprint._BLOCK", 5 * 4 * 4 * 3)


def load(pictures, cache, **options):
    return data.load(f"image_folder:{pictures}", data_cache=str(cache), **OPTIONS, **options)


def the_entry(cache):
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    return folder


def assert_same(found, plain):
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(found, split), getattr(plain, split))
    assert found.description == plain.description


def test_a_folder_is_the_same_and_decoded_once(pictures, plain, tmp_path, monkeypatch):
    assert "1 bad image file was left out" in plain.description
    assert_same_through_cache(tmp_path, plain, f"image_folder:{pictures}", **OPTIONS)
    monkeypatch.setattr(folder_reader, "decode_image", None)
    load(pictures, tmp_path)
    stated = json.loads((the_entry(tmp_path) / "entry.json").read_text())
    assert stated["asked"]["image_size"] == 4
    assert stated["source"]["train"]["files"] == 1 + len(plain.train)  # And the bad one.


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_large_npz_is_read_block_by_block(tmp_path, monkeypatch, save):
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)
    save(
        tmp_path / "a.npz",
        train=images[:47],
        validation=images[47:52],
        test=np.asfortranarray(images[52:]),
    )
    name = f"npz:{tmp_path / 'a.npz'}"
    plain = data.load(name)
    assert not isinstance(data.load(name, data_cache=str(tmp_path / "cache")).train, np.memmap)
    monkeypatch.setattr("lcma_tf.data.sources.npz._LARGE", 0)
    monkeypatch.setattr("lcma_tf.data.sources.npz._BLOCK", 5 * 60)
    assert_same_through_cache(tmp_path / "cache", plain, name)
    one = data.load_for_scoring(name, data_cache=str(tmp_path / "cache"))
    np.testing.assert_array_equal(one.images, images[52:])
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"train.npy") + 300] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(data.DataError, match="`train` must be readable"):
        data.load(name, data_cache=str(tmp_path / "cache"))


def test_a_frame_and_one_split_are_kept_apart(pictures, tmp_path):
    framed = data.load(f"image_folder:{pictures}", pad_to=7, **OPTIONS)
    assert_same_through_cache(tmp_path, framed, f"image_folder:{pictures}", pad_to=7, **OPTIONS)
    for split in ("test", None):
        options = {**OPTIONS, "split": split, "pad_to": 7}
        found = data.load_for_scoring(
            f"image_folder:{pictures}", data_cache=str(tmp_path), **options
        )
        alone = data.load_for_scoring(f"image_folder:{pictures}", **options)
        np.testing.assert_array_equal(found.images, alone.images)
        assert found.file_names == alone.file_names
        assert found.fingerprint == alone.fingerprint
    assert len(list(tmp_path.glob("image_folder-*/entry.json"))) == 6


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("at", [3, 33, 57])
def test_an_interrupted_decoding_goes_on(
    pictures, plain, tmp_path, monkeypatch, small_blocks, capsys, at, is_killed
):
    decode, decoded = folder_reader.decode_image, []

    def interrupted(content):
        if len(decoded) == at:
            if is_killed:  # Nothing more is written, but half a line.
                monkeypatch.setattr(file_sink.FileSink, "save", lambda *_: None)
            raise KeyboardInterrupt
        decoded.append(content)
        return decode(content)

    with monkeypatch.context() as patched:
        patched.setattr(folder_reader, "decode_image", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(pictures, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr("lcma_tf.data.fingerprint._BLOCK", 5 * 4 * 4 * 3)
    (log,) = tmp_path.glob("unfinished_*/log.jsonl") if at > 5 else [None]
    if log is not None and is_killed:
        with open(log, "ab") as lines:
            lines.write(b'{"array": "tr')
    elif log is not None and at == 57:  # Damaged: nothing of it is believed.
        log.write_bytes(log.read_bytes().replace(b'"rows": 5', b'"rows": 9', 1))
        at = 0
    again = []
    monkeypatch.setattr(
        folder_reader, "decode_image", lambda content: (again.append(0), decode(content))[1]
    )
    assert_same(load(pictures, tmp_path), plain)
    assert not (log and at) or "decoding goes on" in capsys.readouterr().out
    assert not list(tmp_path.glob("unfinished_*"))
    # The grey ones before the first coloured one are decoded twice, wherever that happens.
    whole = []
    monkeypatch.setattr(
        folder_reader, "decode_image", lambda content: (whole.append(0), decode(content))[1]
    )
    shutil.rmtree(the_entry(tmp_path))
    load(pictures, tmp_path)
    saved = 5 * is_killed  # Of a block that was not full.
    assert len(again) <= len(whole) - at + saved + 1


@pytest.mark.parametrize("damage", ["byte", "cut", "longer", "gone", "statement", "no_json"])
def test_a_damaged_entry_is_made_anew(pictures, plain, tmp_path, capsys, damage):
    load(pictures, tmp_path)
    folder = the_entry(tmp_path)
    array, statement = folder / "train.npy", folder / "entry.json"
    content = bytearray(array.read_bytes())
    if damage == "byte":
        content[-1] ^= 4
        array.write_bytes(content)
    elif damage == "cut":
        array.write_bytes(content[:-1])
    elif damage == "longer":
        array.write_bytes(content + b"x")
    elif damage == "gone":
        array.unlink()
    elif damage == "statement":
        statement.write_text(statement.read_text().replace('"grey": 4', '"grey": 5'))
    else:
        statement.write_text("{")
    capsys.readouterr()
    assert_same(load(pictures, tmp_path), plain)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "is damaged" in line)
    assert str(folder) in line and "made anew" in line
    assert load(pictures, tmp_path) and "is damaged" not in capsys.readouterr().out


def test_of_a_large_entry_a_share_is_checked_at_each_opening(tmp_path, monkeypatch, small_blocks):
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)

    def fill(filling):
        with filling.array("images", None) as sink:
            sink.append(images)

    monkeypatch.setattr(entry, "_SHARE", 2 * 240)  # Two of ten blocks.
    open_store(tmp_path).arrays("made_up", {}, {}, fill)
    with open(the_entry(tmp_path) / "images.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(bytes([images[-1, -1, -1, -1] ^ 1]))
    opened = 0
    while the_entry(tmp_path).joinpath("checked.json").exists() and opened < 5:
        found = open_store(tmp_path).arrays("made_up", {}, {}, fill).arrays["images"]
        opened += 1
        if (found == images).all():
            break
    assert opened == 4  # The first two blocks were checked as it was made.


def test_rows_are_read_from_the_file_and_others_are_not(pictures, tmp_path):
    images = load(pictures, tmp_path).train[2:]
    rows = np.array([5, 0, 7, 7])
    for asked in (rows, np.arange(3, 9), rows[:1], rows[:0]):
        found = row_reader(images)(asked)
        np.testing.assert_array_equal(found, images[asked])
        assert not isinstance(found, np.memmap)
    batches = [
        list(data.training_batches(array, 3, seed=1, flip=True).take(20).as_numpy_iterator())
        for array in (images, np.array(images))
    ]
    np.testing.assert_array_equal(batches[0], batches[1])
    kept = row_reader(images)
    shutil.rmtree(the_entry(tmp_path))  # By whoever makes it anew: what is open stays.
    np.testing.assert_array_equal(kept(rows), images[rows])
    np.testing.assert_array_equal(row_reader(images)(rows), images[rows])
    np.save(tmp_path / "own.npy", images)
    written = np.load(tmp_path / "own.npy", mmap_mode="c")
    written[:] = 7  # In memory alone.
    assert (row_reader(written)(rows) == 7).all()


def test_what_changed_is_decoded_and_takes_the_place(pictures, tmp_path):
    copied, cache = tmp_path / "pictures", tmp_path / "cache"
    shutil.copytree(pictures, copied)
    first = load(copied, cache)
    before = the_entry(cache)
    Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(copied / "01.png")
    second = load(copied, cache)
    assert the_entry(cache) != before
    assert_same(second, data.load(f"image_folder:{copied}", **OPTIONS))
    assert first.train.sum()  # What is open stays.


def test_no_room(pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=100))
        with pytest.raises(SaveError, match="GB are needed.*`data_cache`"):
            load(pictures, tmp_path / "a")
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(SaveError, match="the file system refuses: File too large"):
            load(pictures, tmp_path / "b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for cache in (tmp_path / "a", tmp_path / "b"):
        assert [path.suffix for path in cache.iterdir()] == [".lock"]
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"`data_cache`"):
        load(pictures, tmp_path / "file" / "deeper")


def test_another_process_is_waited_for(pictures, plain, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lcma_tf.data.cache.store._POLL_SECONDS", 0.01)
    load(pictures, tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    there = the_entry(tmp_path)
    there.rename(tmp_path / "made_by_the_other")
    monkeypatch.setattr(folder_reader, "decode_image", None)  # This one must not.
    found = []
    waiting = threading.Thread(target=lambda: found.append(load(pictures, tmp_path)))
    with folder_lock(lock):
        waiting.start()
        while "waits for it" not in capsys.readouterr().out:
            time.sleep(0.01)
        (tmp_path / "made_by_the_other").rename(there)
    waiting.join()
    assert_same(found[0], plain)


def test_where_it_is(tmp_path, monkeypatch, pictures):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    load_default = {"data_cache": None, **OPTIONS}
    data.load(f"image_folder:{pictures}", **load_default)
    assert the_entry(tmp_path / "xdg" / "lcma_tf")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # Not to be made: done without.
    images = data.load(f"image_folder:{pictures}", **load_default)
    assert not isinstance(images.train, np.memmap)
