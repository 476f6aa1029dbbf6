"""One split of a TensorFlow Datasets set, decoded as TFDS does: as `lcma_tf.data.load` has it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator

from lcma_tf.batch.errors import BatchError
from lcma_tf.batch.rows import Row
from lcma_tf.data.ahead import ahead
from lcma_tf.data.sources.local_files import reading
from lcma_tf.data.sources.tfds import find_builder
from lcma_tf.data.sources.tfds_arrays import image_dataset, prepare, require_images

__all__ = ["open_tfds"]

# A version is digits, dots and stars; whatever else stands after a colon is a split.
_NAME = re.compile(r"(?P<set>[^:]*(?::[\d.*]+)?)(?::(?P<split>.+))?", re.DOTALL)


class _Examples:
    """The images of a split in the order of its files; named by their index."""

    note = ""

    def __init__(self, builder, name: str, split: str):
        self._builder, self._name, self._split = builder, name, split
        self._count = builder.info.splits[split].num_examples
        text = repr((builder.info.full_name, split, self._count))
        self.digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __len__(self) -> int:
        return self._count

    def read(self, start: int) -> Iterator[Row]:
        with reading(self._name, f"`{self._split}` of {self._builder.data_dir}"):
            images = image_dataset(self._builder, self._split).skip(start).apply(ahead)
            for index, image in enumerate(images.as_numpy_iterator(), start):
                yield Row(f"{index}", image)


def open_tfds(name: str, data_dir: str | None = None, without: Collection[str] = ()) -> _Examples:
    """`NAME` or `NAME:SPLIT`, a split as TFDS writes it, `train[:10%]` say; without one `test`.

    The set is prepared first, where it is not, in TFDS' own folder or `data_dir`.

    Raises:
        BatchError: no such split.
        DataError: no such set, it cannot be prepared, or has no pictures of 8 bits.
        MissingExtraError: TFDS is not installed.
    """
    del without  # What TFDS has is not listed.
    match = _NAME.fullmatch(name)
    if not match or not match["set"]:
        raise BatchError(f"`input` must be tfds:NAME or tfds:NAME:SPLIT; got {name!r}")
    builder, split = find_builder(match["set"], data_dir, "input"), match["split"] or "test"
    prepare(builder, name, data_dir)
    require_images(builder, name)
    try:
        return _Examples(builder, name, split)
    except Exception as error:  # TFDS answers a split that it cannot read in several ways.
        raise BatchError(
            f"`input` must name a split of {match['set']}, one of "
            f"{', '.join(builder.info.splits)} or a part of one; got {split!r}"
        ) from error
