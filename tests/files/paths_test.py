"""What is no path is refused by the name of its argument."""

import pathlib

import numpy as np
import pytest

from lcma_tf.files.npz import save_npz
from lcma_tf.files.paths import PathError, path_text


@pytest.mark.parametrize("path", [None, 5, []], ids=repr)
def test_what_is_no_path_is_refused_by_name(path):
    with pytest.raises(PathError) as refused:
        path_text("workdir", path)
    rule = f"`workdir` must be a path, a text or a pathlib.Path; got {path!r}."
    assert str(refused.value) == rule


def test_nothing_is_saved_at_what_is_no_path():
    with pytest.raises(PathError, match="`path` must be a path, .*; got 5"):
        save_npz(5, {"a": np.zeros(1)})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("path", ["runs/a", b"runs/a", pathlib.Path("runs/a")], ids=repr)
def test_paths_of_every_kind_are_text(path):
    assert path_text("path", path) == "runs/a"
