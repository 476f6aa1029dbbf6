"""An empty figure, and its file.

Figures are made through matplotlib's object interface: no display and no global state is needed,
and matplotlib is imported when the first figure is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lcma_tf.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Path", "new_figure", "require_matplotlib", "save_figure"]

Path = str | os.PathLike[str]


def require_matplotlib() -> None:
    """Raises `MissingExtraError` unless figures can be drawn: for who draws after hours of work."""
    require_extra("matplotlib", "plots", "draw figures")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG file, whatever the name's ending."""
    figure.savefig(path, format="png", facecolor="white")
