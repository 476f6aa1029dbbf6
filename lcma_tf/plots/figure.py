"""An empty figure, and its file.

Figures are made through matplotlib's object interface: no display and no global state is needed,
and matplotlib is imported when the first figure is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Path", "new_figure", "save_figure"]

Path = str | os.PathLike[str]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, drawn without a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG file, whatever the name's ending."""
    figure.savefig(path, format="png", facecolor="white")
