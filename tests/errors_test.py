"""Whatever this project raises about its input has one base, so that commands know it."""

import ast
import pathlib

import pytest

import lcma_tf
from lcma_tf.errors import UserError
from lcma_tf.files.paths import PathError
from lcma_tf.files.saving import SaveError

PACKAGE = pathlib.Path(lcma_tf.__file__).parent


def test_every_error_is_one_of_the_user_or_not_caught_as_an_error():
    found, others = [], []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                found.append(node.name)
                if "UserError" not in map(ast.unparse, node.bases):
                    others.append(node.name)
    assert len(found) > 15
    # What the cache raises and catches itself, the base, and Ctrl-C as a scheduler sends it.
    assert sorted(others) == ["DamagedEntryError", "UserError", "_TerminatedError"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lcma_tf.ConfigError, ValueError),
        (lcma_tf.FactorizationError, ValueError),
        (lcma_tf.data.DataError, ValueError),
        (SaveError, OSError),
        (PathError, TypeError),
    ],
)
def test_an_error_keeps_its_kind(error, kind):
    assert issubclass(error, UserError) and issubclass(error, kind)
    assert str(error("It must be so; got otherwise.")) == "It must be so; got otherwise."


@pytest.mark.parametrize("path", [None, 5], ids=repr)
@pytest.mark.parametrize(
    ("load", "name"),
    [
        (lcma_tf.load, "workdir"),
        (lcma_tf.Calibration.load, "path"),
        (lcma_tf.Factorization.load, "path"),
    ],
    ids=["flow", "calibration", "factorization"],
)
def test_what_is_no_path_is_refused_by_name(load, name, path):
    with pytest.raises(PathError, match=f"`{name}` must be a path, .*; got {path}"):
        load(path)
