"""Paths as they are meant: `~` is the home folder, and what a run remembers holds from any folder.

A data set is named by a path after a prefix, such as `npz:` or `image_folder:`; other names are left
alone.
"""

from __future__ import annotations

import os

from lcma_tf.choices import SOURCES
from lcma_tf.errors import UserError

__all__ = [
    "PathError",
    "absolute",
    "absolute_dataset",
    "expanded",
    "kind_of_dataset",
    "path_text",
    "printable",
]


class PathError(UserError, TypeError):
    """Something that is no path stands where one must; the message names the argument."""


def path_text(name: str, path: str | bytes | os.PathLike) -> str:
    """The argument `name` of a public function, `path`, as text.

    Raises:
        PathError: it is neither text nor bytes nor a path object.
    """
    try:
        return os.fsdecode(path)
    except TypeError:
        rule = f"`{name}` must be a path, a text or a pathlib.Path"
        raise PathError(f"{rule}; got {path!r}.") from None


def expanded(path: str) -> str:
    """`path` with a leading `~` or `~user` replaced by that home folder.

    Raises:
        ValueError: there is no such user.
    """
    whole = os.path.expanduser(path)
    if whole.startswith("~"):
        raise ValueError(
            f"a path that begins with ~ must name the home folder of a user; got {path!r} (a file "
            f"of that name is ./{path})"
        )
    return whole


def absolute(path: str | None) -> str | None:
    """The same place by a path from the root; None and the empty path stay what they are."""
    return os.path.abspath(expanded(path)) if path else path


def absolute_dataset(name: str) -> str:
    """The name of a data set with its path, if it has one, made absolute."""
    prefix, path = _parts(name)
    return f"{prefix}{absolute(path)}" if prefix else name


def kind_of_dataset(name: str) -> str:
    """The name of a data set without the path of its files: `npz:` for `npz:/data/a.npz`."""
    return _parts(name)[0] or name


def _parts(name: str) -> tuple[str, str]:
    prefixes = (source for source in SOURCES if source.endswith(":"))
    prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
    return prefix, name[len(prefix) :]


def printable(text: object) -> str:
    """`text` as a terminal takes it: bytes of file names that are no UTF-8 become `\\xff`."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
