"""Image files to one array, each opened once; and what was done to them, counted and said once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lcma_tf.data.image_data import DataError
from lcma_tf.data.resize import center_square
from lcma_tf.files.paths import printable
from lcma_tf.image_files import ImageFileError, decode_image, has_transparency, read_image_file

__all__ = ["FolderReader", "skipped_by_suffix"]

_NUM_NAMED = 5  # Of the bad files that are left out, and of suffixes.


class FolderReader:
    """Reads files to pixels of one size and one kind.

    Args:
        name: of the data set, opens error messages.
        root: the folder; names are relative to it.
        image_size: height and width to which pictures are brought; None = they are of one size.
        skips: whether files that cannot be decoded are left out.
    """

    def __init__(self, name: str, root: Path, image_size: int | None, skips: bool):
        self._name, self._root = name, root
        self._image_size, self._skips = image_size, skips
        self._bad: list[str] = []
        self._done: Counter[str] = Counter()

    def read(self, files: Sequence[Path]) -> tuple[np.ndarray, list[Path]]:
        """uint8 `[N, H, W, C]` of every good file, and which these are; C is 1 if all of them are grey.

        In memory are the array and one picture; of grey files with coloured ones behind them, the array
        of the grey ones once more.

        Raises:
            DataError: a file that cannot be decoded, or is of another size than the first.
        """
        images: np.ndarray = np.empty((len(files), 0, 0, 1), np.uint8)
        good: list[Path] = []
        for file in files:
            picture = self._picture(file)
            if picture is None:
                continue
            pixels = np.atleast_3d(np.asarray(picture))
            _, height, width, _ = images.shape
            if not good:
                images = np.empty((len(files), *pixels.shape), np.uint8)
            elif pixels.shape[:2] != (height, width):
                raise DataError(
                    f"{self._name}: files must be of one size unless `image_size` is given; got "
                    f"{printable(good[0])} with {width}x{height} pixels and "
                    f"{printable(file)} with {picture.width}x{picture.height}"
                )
            if (
                pixels.shape[-1] > images.shape[-1]
            ):  # The first coloured one: those before are RGB too.
                grey = images
                images = np.empty((*grey.shape[:3], 3), np.uint8)
                images[: len(good)] = grey[: len(good)]
            images[len(good)] = pixels
            good.append(file)
        if images.shape[-1] == 1:
            del self._done["grey"]  # They stay what they are.
        return images[: len(good)], good

    def left_out(self) -> str:
        """A sentence on the files that were left out; empty if none was."""
        if not self._bad:
            return ""
        count, named = len(self._bad), self._bad[:_NUM_NAMED]
        further = f" and {count - len(named):,} more" if count > len(named) else ""
        files = "1 bad image file was" if count == 1 else f"{count:,} bad image files were"
        return f"{files} left out: {'; '.join(named)}{further}."

    def changed(self) -> str:
        """Sentences on what was done to pictures beyond shrinking them; empty if nothing was."""
        told = {
            "enlarged": "enlarged, which smooths and flatters bits/dim",
            "grey": "grey and became RGB",
            "transparent": "transparent somewhere, which was dropped",
        }
        found = [
            f"{_files(self._done[what])} {words}."
            for what, words in told.items()
            if self._done[what]
        ]
        return " ".join(found)

    def _picture(self, file: Path) -> Image.Image | None:
        """A good file's picture, in its size; None = it is left out."""
        try:
            data = read_image_file(file)
            picture = decode_image(data)
            self._done["transparent"] += has_transparency(data)
        except ImageFileError as error:
            if not self._skips:
                raise DataError(
                    f"{self._name}: every image file must be readable; {printable(file)} is not: it "
                    f"{error}; `skip_bad_images` leaves such files out"
                ) from error
            relative = printable(file.relative_to(self._root).as_posix())
            self._bad.append(f"{relative} ({error})")
            return None
        self._done["grey"] += picture.mode == "L"
        if self._image_size is None:
            return picture
        self._done["enlarged"] += min(picture.size) < self._image_size
        return center_square(picture, self._image_size)


def skipped_by_suffix(skipped: Counter[str]) -> str:
    """A sentence on the files that were not read because of their names; empty if there are none."""
    if not skipped:
        return ""
    found = sorted(skipped.items(), key=lambda item: (-item[1], not item[0], item[0]))
    named = [f"{count:,} {suffix or 'without one'}" for suffix, count in found]
    further = f" and {len(named) - _NUM_NAMED} more" if len(named) > _NUM_NAMED else ""
    listed = printable(", ".join(named[:_NUM_NAMED]))
    return f"{_files(skipped.total())} skipped by suffix: {listed}{further}."


def _files(count: int) -> str:
    return "1 file was" if count == 1 else f"{count:,} files were"
