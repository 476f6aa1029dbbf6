"""The settings that come with lcma_tf, by name: the flag files of `configs/`.

A wheel carries them inside the package, a checkout beside it.
"""

from pathlib import Path

from lcma_tf.config import require

__all__ = ["config_names", "config_path"]

_PACKAGE = Path(__file__).resolve().parents[1]
_INSIDE, _BESIDE = _PACKAGE / "configs", _PACKAGE.parent / "configs"


def config_names() -> list[str]:
    """The names, in alphabetical order."""
    return sorted(_paths())


def config_path(name: str) -> Path:
    """The flag file of that name.

    Raises:
        ConfigError: there is none.
    """
    paths = _paths()
    rule = f"one of {', '.join(sorted(paths))} (a file of your own is a --flagfile)"
    require(name in paths, "config", rule, name)
    return paths[name]


def _paths() -> dict[str, Path]:
    folder = _INSIDE if _INSIDE.is_dir() else _BESIDE
    return {path.stem: path for path in folder.glob("*.flags")}
