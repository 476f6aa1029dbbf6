"""Data sets by name: the table of sources, and `load`.

A name is a source's own, or its prefix, and what that source makes of the rest; every other name is
a TensorFlow Datasets set.
"""

import functools
import inspect
from collections.abc import Callable

from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.padding import padded
from lcma_tf.data.resample import DEFAULT_RESAMPLER, RESAMPLERS
from lcma_tf.data.sources.celeb_a import load_celeb_a
from lcma_tf.data.sources.cifar10 import load_cifar10
from lcma_tf.data.sources.downsampled_imagenet import load_downsampled_imagenet
from lcma_tf.data.sources.image_folder import load_image_folder
from lcma_tf.data.sources.imagenet_resized import load_imagenet_resized
from lcma_tf.data.sources.mnist import load_idx
from lcma_tf.data.sources.npz import load_npz
from lcma_tf.data.sources.photo_patches import load_photo_patches
from lcma_tf.data.sources.tfds import load_tfds
from lcma_tf.data.splits import IN_MEMORY

# Name -> function of (rest of the name, data_dir, image_size). A new source is one line. A name that
# ends in a colon is a prefix; any other is the whole name, or a slash or colon follows it (TFDS). An
# option of `load` that a source has an argument for is handed to it; the others refuse it.
SOURCES: dict[str, Callable[..., ImageData]] = {
    "npz:": load_npz,
    "image_folder:": load_image_folder,
    "photo_patches": load_photo_patches,
    "cifar10": load_cifar10,
    "downsampled_imagenet": load_downsampled_imagenet,
    "imagenet_resized": load_imagenet_resized,
    "celeb_a": load_celeb_a,
    "mnist": functools.partial(load_idx, "mnist"),
    "fashion_mnist": functools.partial(load_idx, "fashion_mnist"),
}


def load(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    resampler: str = DEFAULT_RESAMPLER,
    pad_to: int | None = None,
    skip_bad_images: bool = False,
) -> ImageData:
    """Loads a data set into memory.

    Args:
        name: `photo_patches` (embedded; `/32x32` or `/64x64`), `npz:PATH` (arrays `train`,
            `validation`, `test`, uint8 `[N, H, W, C]`), `image_folder:PATH` (PNG and JPEG files),
            `cifar10`, `downsampled_imagenet/32x32` or `/64x64`, `imagenet_resized/32x32` or
            `/64x64`, `celeb_a`, `mnist`, `fashion_mnist`, or any other TensorFlow Datasets name.
        data_dir: where the original archives of a named set lie, or where TFDS keeps prepared sets;
            None for TFDS' default. `npz` and `image_folder` have their place in the name.
        image_size: height and width in pixels to which pictures are brought; None takes them as
            they are, which then must be of one size.
        resampler: how `celeb_a` is brought to its size: `antialias` (8-bit) or `program`
            (real-valued, so that the images are float32).
        pad_to: height and width in pixels to which images are padded with zeros on all sides; None
            pads nothing. `ImageData` says how bits/dim are then counted.
        skip_bad_images: `image_folder` leaves out files that cannot be decoded, and says which in the
            description; other sets have no such files.

    A TFDS set that is not prepared is downloaded, except for the two ImageNets; with no network that
    fails after about 200 seconds of TFDS' retries.

    Returns:
        `ImageData`, uint8; float32 for real-valued pixels.

    Raises:
        DataError: the set cannot be had; the message names it, the rule and what was found.
    """
    for option, value in (("image_size", image_size), ("pad_to", pad_to)):
        if value is not None and value < 1:
            raise DataError(f"`{option}` must be None or at least 1; got {value}")
    if resampler not in RESAMPLERS:
        raise DataError(f"`resampler` must be one of {', '.join(RESAMPLERS)}; got {resampler!r}")
    if name == IN_MEMORY:
        raise DataError(
            f"{IN_MEMORY}: such images were given as arrays and kept nowhere; name another data set"
        )
    source, argument = _find(name)
    options = {}
    for option, value, default in (
        ("resampler", resampler, DEFAULT_RESAMPLER),
        ("skip_bad_images", skip_bad_images, False),
    ):
        if _takes(source, option):
            options[option] = value
        elif value != default:
            takers = [own.rstrip(":") for own, other in SOURCES.items() if _takes(other, option)]
            raise DataError(
                f"`{option}` must be {default} for any set but {', '.join(takers)}; got {value!r} for "
                f"{name}"
            )
    data = source(argument, data_dir, image_size, **options)
    return data if pad_to is None else padded(data, pad_to)


def _takes(source: Callable[..., ImageData], option: str) -> bool:
    return option in inspect.signature(source).parameters


def _find(name: str):
    """The function for a name, and its first argument."""
    for own, source in SOURCES.items():
        rest = name.removeprefix(own)
        if name.startswith(own) and (own.endswith(":") or rest[:1] in ("", "/", ":")):
            return source, rest
    return load_tfds, name
