"""A version appears whole under the next free number, or not at all."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lcma_tf.serving.publishing import versions as publish
from lcma_tf.serving.publishing.versions import (
    PublishError,
    check_export_dir,
    new_version,
    versions,
)

ROOT = Path(__file__).resolve().parents[2]


def publish_file(base, text="model"):
    with new_version(base) as version:
        (version.path / "variables").mkdir()
        (version.path / "variables" / "data").write_text(text)
    return version


def test_versions_count_up_and_old_ones_stay(tmp_path):
    base = tmp_path / "models" / "flow"
    assert publish_file(base, "a").number == 1
    assert publish_file(base, "b").path == base / "2"
    assert (base / "1/variables/data").read_text() == "a"
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]


def test_what_a_server_takes_for_a_version_is_taken(tmp_path):
    for name in ("007", "+9", "-3", "v12", "10.5", ".incoming-99", "1e3", "٤٤"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file")
    assert versions(tmp_path) == [-3, 7, 8, 9]
    assert publish_file(tmp_path).number == 10


def test_an_empty_folder_is_not_replaced(tmp_path):
    (tmp_path / "1").mkdir()
    assert publish_file(tmp_path).number == 2
    assert not any((tmp_path / "1").iterdir())


def test_a_clash_takes_the_next_number(tmp_path, monkeypatch):
    """Another exporter publishes between our look and our rename."""
    rename, raced = os.rename, []

    def slower(source, target):
        if not raced:
            raced.append(target)
            Path(target).mkdir()
            (Path(target) / "theirs").write_text("theirs")
        rename(source, target)

    monkeypatch.setattr(publish.os, "rename", slower)
    assert publish_file(tmp_path).number == 2
    assert (tmp_path / "1/theirs").read_text() == "theirs"


def test_many_at_once_all_get_a_number(tmp_path):
    threads = [threading.Thread(target=publish_file, args=(tmp_path, str(i))) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions(tmp_path) == list(range(1, 13))
    texts = {path.read_text() for path in tmp_path.glob("*/variables/data")}
    assert texts == {str(i) for i in range(12)}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_is_refused_leaves_nothing(tmp_path, error):
    publish_file(tmp_path)
    with pytest.raises(error), new_version(tmp_path) as version:
        (version.path / "saved_model.pb").write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_kill_leaves_no_version(tmp_path):
    code = (
        "import os, signal, sys\nfrom lcma_tf.serving.publishing.versions import new_version\n"
        f"with new_version({str(tmp_path)!r}) as version:\n"
        "    (version.path / 'saved_model.pb').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".incoming-") and versions(tmp_path) == []
    assert publish_file(tmp_path).number == 1


def test_a_server_under_another_user_can_read_it(tmp_path):
    old = os.umask(0o077)
    try:
        version = publish_file(tmp_path)
    finally:
        os.umask(old)
    modes = {
        path.relative_to(tmp_path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (version.path, *version.path.rglob("*"))
    }
    assert modes == {"1": 0o755, "1/variables": 0o755, "1/variables/data": 0o644}


def test_everything_is_on_the_disk_before_it_has_a_number(tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(publish.os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(
        publish.os, "rename", lambda *names: (calls.append("rename"), rename(*names))
    )
    publish_file(tmp_path)
    # One file and two folders; then the folder that names the new version.
    assert calls == ["fsync"] * 3 + ["rename", "fsync"]


def test_a_place_where_nothing_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError, match="`export_dir` must be the path of a folder; got ''"):
        check_export_dir("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(PublishError, match="`export_dir` must be a folder that can be made"):
            check_export_dir(path)
        with pytest.raises(PublishError, match="`export_dir` must be a folder that can be made"):
            publish_file(path)
    check_export_dir(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
