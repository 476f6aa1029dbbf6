"""Data sets by name: `load`.

A name is a source's own (`lcma_tf.choices.SOURCES`), or its prefix, and what that source makes of the
rest; every other name is a TensorFlow Datasets set. An option of `load` that a source has an argument
for is handed to it; the others refuse it.
"""

import inspect
from collections.abc import Callable

from lcma_tf.choices import RESAMPLERS, SOURCES
from lcma_tf.data.image_data import DataError, ImageData
from lcma_tf.data.padding import padded
from lcma_tf.data.resample import DEFAULT_RESAMPLER
from lcma_tf.data.sources.tfds import load_tfds
from lcma_tf.data.splits import IN_MEMORY


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
    for own in SOURCES:
        rest = name.removeprefix(own)
        if name.startswith(own) and (own.endswith(":") or rest[:1] in ("", "/", ":")):
            return SOURCES[own], rest
    return load_tfds, name
