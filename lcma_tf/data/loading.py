"""Data sets by name: `load`, and `load_for_scoring` for what needs no splits.

A name is a source's own (`lcma_tf.choices.SOURCES`), or its prefix, and what that source makes of the
rest; every other name is a TensorFlow Datasets set. An option of `load` that a source has an argument
for is handed to it; the others refuse it.
"""

import dataclasses
import inspect
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from lcma_tf.choices import RESAMPLERS, SCORED_SOURCES, SOURCES
from lcma_tf.data.cache import MEMORY, Store, open_store
from lcma_tf.data.changed import Images, with_fingerprint
from lcma_tf.data.image_data import SPLITS, DataError, ImageData, is_count
from lcma_tf.data.one_split import OneSplit
from lcma_tf.data.padding import padded
from lcma_tf.data.resample import DEFAULT_RESAMPLER
from lcma_tf.data.sources.tfds import load_tfds
from lcma_tf.data.splits import IN_MEMORY, MAX_VALIDATION_SHARE
from lcma_tf.files.paths import printable


def load(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    *,
    resampler: str = DEFAULT_RESAMPLER,
    pad_to: int | None = None,
    skip_bad_images: bool = False,
    validation_share: float | None = None,
    data_cache: str | None = "",
) -> ImageData:
    """Loads a data set.

    Args:
        name: `photo_patches` (embedded; `/32x32` or `/64x64`), `npz:PATH` (arrays `train`,
            `validation`, `test`, uint8 `[N, H, W, C]`), `image_folder:PATH` (PNG and JPEG files),
            `cifar10`, `downsampled_imagenet/32x32` or `/64x64`, `imagenet_resized/32x32` or
            `/64x64`, `celeb_a`, `mnist`, `fashion_mnist`, or any other TensorFlow Datasets name.
        data_dir: where the original archives of a named set lie, or where TFDS keeps prepared sets;
            None for TFDS' default. It must exist. `npz` and `image_folder` have their place in the name.
        image_size: height and width in pixels to which pictures are brought; None takes them as
            they are, which then must be of one size.
        resampler: how `celeb_a` is brought to its size: `antialias` (8-bit) or `program`
            (real-valued, so that the images are float32).
        pad_to: height and width in pixels to which images are padded with zeros on all sides; None
            pads nothing. `ImageData` says how bits/dim are then counted.
        skip_bad_images: `image_folder` leaves out files that cannot be decoded, and says which in the
            description; other sets have no such files.
        validation_share: of an `image_folder`, an `npz` or a TFDS set without a validation or a test
            split, the share of its images, in (0, 0.5], that becomes validation, and as many test
            (`lcma_tf.data.splits.shares`): by hash of the name in a folder, the last ones elsewhere.
            None = what the source does by itself.
        data_cache: folder in which the decoded images of an `image_folder`, a TFDS set, CelebA, the
            ImageNets and a large `npz` are kept, so that the set is decoded once, and mapped from there
            instead of held in main memory (`lcma_tf.data.cache`); None = `lcma_tf` below
            `XDG_CACHE_HOME`, or below `~/.cache`. "" = none.

    A TFDS set that is not prepared is downloaded, except for the two ImageNets; with no network that
    fails after about 200 seconds of TFDS' retries.

    Returns:
        `ImageData`, uint8; float32 for real-valued pixels.

    Raises:
        DataError: the set cannot be had; the message names it, the rule and what was found.
        SaveError: the cache cannot be written.
    """
    _check_named(name, image_size, pad_to)
    if data_dir is not None and not os.path.isdir(os.path.expanduser(data_dir)):
        raise DataError(f"`data_dir` must be an existing folder; got {printable(data_dir)!r}")
    if name == IN_MEMORY:
        raise DataError(
            f"{IN_MEMORY}: such images were given as arrays and kept nowhere; name another data set"
        )
    source, argument = _find(name)
    asked = _Asked(resampler, skip_bad_images, validation_share)
    options = _options(asked, source, name, data_cache)
    data = source(argument, data_dir, image_size, **options)
    return _finished(data, pad_to, options.get("store", MEMORY))


def load_for_scoring(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    *,
    split: str | None = None,
    usual_split: str = "test",
    pad_to: int | None = None,
    data_cache: str | None = "",
    **options: Any,
) -> OneSplit:
    """Loads what is to be scored: one split of a data set, or an `image_folder` without splits, whole.

    Of an `image_folder` or an `npz` no other split is read; other sets are loaded by `load` first.

    Args:
        name: as for `load`.
        data_dir: as for `load`.
        image_size: as for `load`.
        split: `train`, `validation` or `test`; the split by hash of an `image_folder` without
            sub-folders for its splits is used only where a split is asked for here. None =
            `usual_split`, or all files of such a folder, or the only array of an `npz`.
        usual_split: as said.
        pad_to: as for `load`.
        data_cache: as for `load`.
        **options: `resampler`, `skip_bad_images`, `validation_share`, as for `load`.

    Raises:
        DataError: as `load`.
    """
    _check_named(name, image_size, pad_to)
    if split not in (None, *SPLITS):
        raise DataError(f"`split` must be one of {', '.join(SPLITS)}, or None; got {split!r}")
    prefix = next((own for own in SCORED_SOURCES if name.startswith(own)), None)
    if prefix is None:
        data = load(name, data_dir, image_size, pad_to=pad_to, data_cache=data_cache, **options)
        return OneSplit.of(data, split or usual_split)
    source = SCORED_SOURCES[prefix]
    taken = _options(_Asked(**options), source, name, data_cache)
    wanted = {"split": split, "usual_split": usual_split}
    images = source(name.removeprefix(prefix), data_dir, image_size, **wanted, **taken)
    return _finished(images, pad_to, taken.get("store", MEMORY))


@dataclasses.dataclass(frozen=True)
class _Asked:
    """Options that some sources take; each is checked here, once for all of them."""

    resampler: str = DEFAULT_RESAMPLER
    skip_bad_images: bool = False
    validation_share: float | None = None

    def __post_init__(self):
        if self.resampler not in RESAMPLERS:
            raise DataError(
                f"`resampler` must be one of {', '.join(RESAMPLERS)}; got {self.resampler!r}"
            )
        share = self.validation_share
        is_share = (
            isinstance(share, int | float | np.floating) and 0 < share <= MAX_VALIDATION_SHARE
        )
        if share is not None and not is_share:
            raise DataError(
                f"`validation_share` must be None or in (0, {MAX_VALIDATION_SHARE}]; got {share!r}"
            )

    def of(self, source: Callable[..., Any], name: str) -> dict[str, Any]:
        """What `source` has an argument for; the rest must have been left alone."""
        options = {}
        for field in dataclasses.fields(self):
            option, value = field.name, getattr(self, field.name)
            if _takes(source, option):
                options[option] = value
            elif value != field.default:
                takers = [
                    own.rstrip(":") for own, other in SOURCES.items() if _takes(other, option)
                ]
                if _takes(load_tfds, option):
                    takers.append("sets of TensorFlow Datasets without one of their own")
                raise DataError(
                    f"`{option}` must be {field.default} for any set but {', '.join(takers)}; got "
                    f"{value!r} for {name}"
                )
        return options


def _check_named(name: str, image_size: int | None, pad_to: int | None) -> None:
    if not isinstance(name, str):
        raise DataError(f"`name` must be the name of a data set, a text; got {name!r}")
    for option, value in (("image_size", image_size), ("pad_to", pad_to)):
        if value is not None and not is_count(value):
            raise DataError(f"`{option}` must be None or an integer of at least 1; got {value!r}")


def _options(
    asked: _Asked, source: Callable[..., Any], name: str, data_cache: str | None
) -> dict[str, Any]:
    """What `source` is called with beside its three arguments."""
    options = asked.of(source, name)
    return options | ({"store": open_store(data_cache)} if _takes(source, "store") else {})


def _finished(data: Images, pad_to: int | None, store: Store) -> Images:
    """With a frame, and with the fingerprint that the store has without reading all pixels."""
    return with_fingerprint(data if pad_to is None else padded(data, pad_to, store), store)


def _takes(source: Callable[..., Any], option: str) -> bool:
    return option in inspect.signature(source).parameters


def _find(name: str):
    """The function for a name, and its first argument."""
    for own in SOURCES:
        rest = name.removeprefix(own)
        if name.startswith(own) and (own.endswith(":") or rest[:1] in ("", "/", ":")):
            return SOURCES[own], rest
    return load_tfds, name
