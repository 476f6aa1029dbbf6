"""Image files to arrays, each opened once; and what was done to them, counted and said once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lcma_tf.data.cache import Filling, Store
from lcma_tf.data.cache.identity import identity_of_files
from lcma_tf.data.image_data import DataError
from lcma_tf.data.resize import center_square
from lcma_tf.data.sources.folder_walk import relative_names
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
        self._forget()

    def read(
        self, splits: Mapping[str, Sequence[Path]], store: Store
    ) -> tuple[dict[str, np.ndarray], dict[str, list[Path]]]:
        """By split uint8 `[N, H, W, C]` of every good file, and which these are.

        C is 1 if all files are grey, in all splits. Grey ones before the first coloured one are read
        twice.

        Args:
            store: where the images are kept.

        Raises:
            DataError: a file that cannot be decoded, or is of another size than the first.
            SaveError: the store cannot be written to.
        """
        name_of = relative_names(self._root)
        asked = {
            "folder": os.path.abspath(self._root),
            "image_size": self._image_size,
            "skip_bad_images": self._skips,
            "splits": list(splits),
        }
        source = {
            split: identity_of_files(self._root, map(name_of, files))
            for split, files in splits.items()
        }
        arrays, state = store.arrays(
            self._name, asked, source, lambda filling: self._fill(splits, filling)
        )
        self._restore(state)
        good = {
            split: [file for index, file in enumerate(files) if index not in self._left_out[split]]
            for split, files in splits.items()
        }
        return {split: arrays[split] for split in splits}, good

    def _fill(self, splits: Mapping[str, Sequence[Path]], filling: Filling) -> dict[str, Any]:
        """Decodes everything, from where `filling` is; returns the state at the end."""
        while True:
            self._forget() if filling.state is None else self._restore(filling.state)
            if all(self._filled(split, files, filling) for split, files in splits.items()):
                if not self._is_rgb:
                    del self._done["grey"]  # They stay what they are.
                return self._state()
            filling.forget()
            self._forget(is_rgb=True)
            filling.state = self._state()

    def _filled(self, split: str, files: Sequence[Path], filling: Filling) -> bool:
        """Whether one split is read; False where a coloured file is behind grey ones."""
        left_out = self._left_out.setdefault(split, set())
        with filling.array(split, len(files), self._state) as sink:
            for index in range(sink.filled + len(left_out), len(files) if not sink.is_whole else 0):
                picture, done = self._picture(files[index])
                if picture is None:
                    left_out.add(index)
                    continue
                if self._first is None:
                    self._first = [str(files[index]), *picture.size]
                    self._is_rgb = self._is_rgb or picture.mode != "L"
                elif list(picture.size) != self._first[1:]:
                    first, width, height = self._first
                    raise DataError(
                        f"{self._name}: files must be of one size unless `image_size` is given; got "
                        f"{printable(first)} with {width}x{height} pixels and "
                        f"{printable(files[index])} with {picture.width}x{picture.height}"
                    )
                if picture.mode != "L" and not self._is_rgb:
                    return False
                picture = picture.convert("RGB") if self._is_rgb else picture
                self._done.update(done)
                sink.append(np.atleast_3d(np.asarray(picture))[None])
        return True

    def _forget(self, is_rgb: bool = False) -> None:
        self._is_rgb = is_rgb
        self._first: list[Any] | None = None  # Name, width and height of the first picture.
        self._left_out: dict[str, set[int]] = {}
        self._bad: list[str] = []
        self._done: Counter[str] = Counter()

    def _state(self) -> dict[str, Any]:
        """What has been found so far, such as JSON can hold."""
        return {
            "is_rgb": self._is_rgb,
            "first": self._first,
            "left_out": {split: sorted(found) for split, found in self._left_out.items()},
            "bad": list(self._bad),
            "done": dict(self._done),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._is_rgb, self._first = state["is_rgb"], state["first"]
        self._left_out = {split: set(found) for split, found in state["left_out"].items()}
        self._bad, self._done = list(state["bad"]), Counter(state["done"])

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

    def _picture(self, file: Path) -> tuple[Image.Image | None, Counter[str]]:
        """A good file's picture, in its size, and what was done to it; None = it is left out."""
        done: Counter[str] = Counter()
        try:
            data = read_image_file(file)
            picture = decode_image(data)
            done["transparent"] += has_transparency(data)
        except ImageFileError as error:
            if not self._skips:
                raise DataError(
                    f"{self._name}: every image file must be readable; {printable(file)} is not: it "
                    f"{error}; `skip_bad_images` leaves such files out"
                ) from error
            relative = printable(file.relative_to(self._root).as_posix())
            self._bad.append(f"{relative} ({error})")
            return None, done
        done["grey"] += picture.mode == "L"
        if self._image_size is None:
            return picture, done
        done["enlarged"] += min(picture.size) < self._image_size
        return center_square(picture, self._image_size), done


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
