"""`photo_patches`: a small set of real photographs cut from pictures inside installed packages.

scikit-image, scikit-learn and matplotlib ship eight colour photographs, enough to see a flow learn
on a machine without a network. It is an ordinary TFDS builder: `tfds.load("photo_patches/32x32")`
works once this module was imported. The packages' files are found, the packages not imported.
"""

import dataclasses
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from lcma_tf.data.image_data import SPLITS, DataError
from lcma_tf.image_files import ImageFileError, decode_image, read_image_file


@dataclasses.dataclass(frozen=True)
class Photo:
    """Where one photograph lies: the importable package, the pip name that brings it, the file."""

    package: str
    distribution: str
    path: str


PHOTOS = (
    Photo("skimage", "scikit-image", "data/astronaut.png"),
    Photo("skimage", "scikit-image", "data/chelsea.png"),
    Photo("skimage", "scikit-image", "data/coffee.png"),
    Photo("skimage", "scikit-image", "data/motorcycle_left.png"),
    Photo("skimage", "scikit-image", "data/rocket.jpg"),
    Photo("sklearn", "scikit-learn", "datasets/images/china.jpg"),
    Photo("sklearn", "scikit-learn", "datasets/images/flower.jpg"),
    Photo("matplotlib", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)

# Full size is left out: at 32x32 it shows noise and JPEG blocks rather than a scene.
FACTORS = (2, 3)

# Levels of luma standard deviation; below it lie sky and backdrop, which teach nothing.
MIN_LUMA_DEVIATION = 10.0

_LUMA = np.array([0.299, 0.587, 0.114])

_DESCRIPTION = """\
Patches of eight colour photographs that lie inside scikit-image, scikit-learn and matplotlib.

The left two thirds of each photo are training; of the right third one half is validation and the
other test, top and bottom taking turns from photo to photo. Each region is area-averaged by 2 and
by 3 by itself, so splits share no pixel; patches lie a quarter of their size apart, and those with
a luma deviation under 10 are left out.

The patches of one region overlap and all splits see the same scenes: this set shows that training
works, NOT how well a model generalises.

Photos: astronaut (NASA, public domain); chelsea and coffee (CC0); motorcycle_left (Middlebury
stereo 2014); rocket (SpaceX, public domain); china.jpg, CC BY 2.0, by danielbuechele; flower.jpg,
CC BY 2.0, by vultilion; grace_hopper (portrait by the US Navy).
"""


def regions(height: int, width: int, index: int) -> dict[str, tuple[slice, slice]]:
    """Rows and columns of each split in photo number `index`: disjoint, together the whole photo.

    Even photos give the top of the right third to validation, odd ones the bottom.
    """
    cut, middle = 2 * width // 3, height // 2
    top, bottom = slice(0, middle), slice(middle, height)
    if index % 2:
        top, bottom = bottom, top
    right = slice(cut, width)
    return {
        "train": (slice(0, height), slice(0, cut)),
        "validation": (top, right),
        "test": (bottom, right),
    }


def patches(region: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Patches uint8 `[size, size, 3]` of a region `[H, W, 3]`, at every factor of `FACTORS`."""
    for factor in FACTORS:
        height, width = region.shape[0] // factor, region.shape[1] // factor
        blocks = region[: height * factor, : width * factor].reshape(
            height, factor, width, factor, 3
        )
        small = np.round(blocks.mean(axis=(1, 3)))
        luma = small @ _LUMA
        for top in range(0, height - size + 1, size // 4):
            for left in range(0, width - size + 1, size // 4):
                window = (slice(top, top + size), slice(left, left + size))
                if luma[window].std() >= MIN_LUMA_DEVIATION:
                    yield small[window].astype(np.uint8)


def check_photos() -> None:
    """Raises `DataError`, before the first is read, unless every photograph is installed."""
    for photo in PHOTOS:
        photo_file(photo)


def photo_file(photo: Photo) -> Path:
    """Where the photograph lies.

    Raises:
        DataError: its package is not installed, or this version of it lacks the file.
    """
    spec = importlib.util.find_spec(photo.package)
    if spec is None or spec.origin is None:
        raise DataError(
            f"photo_patches: {photo.path} must come from the package {photo.distribution}, which "
            f"is not installed; run `pip install {photo.distribution}`, or, for all photographs, "
            '`pip install "lcma_tf[data,plots]"`'
        )
    file = Path(spec.origin).parent / photo.path
    if not file.is_file():
        raise DataError(
            f"photo_patches: the installed {photo.distribution} must contain {photo.path}; this "
            f"version does not, there is no file {file}"
        )
    return file


def read_photo(photo: Photo) -> np.ndarray:
    """The photograph as uint8 `[H, W, 3]`.

    Raises:
        DataError: it is not installed, or the file is damaged.
    """
    file = photo_file(photo)
    try:
        return np.asarray(decode_image(read_image_file(file), orientation=False).convert("RGB"))
    except ImageFileError as error:
        raise DataError(f"photo_patches: {file} must be the photograph; it {error}") from error


@dataclasses.dataclass
class PhotoPatchesConfig(tfds.core.BuilderConfig):
    """Adds the patches' height and width in pixels."""

    size: int = 32


class PhotoPatches(tfds.core.GeneratorBasedBuilder):
    """TFDS builder `photo_patches`; configs `32x32` (the default) and `64x64`."""

    name = "photo_patches"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Eight photographs, at half and a third of their size."}
    BUILDER_CONFIGS: ClassVar = [
        PhotoPatchesConfig(name=f"{size}x{size}", description=f"{size}x{size} pixels", size=size)
        for size in (32, 64)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        # Not dataset_info_from_configs: it looks for README and CITATIONS files beside this one.
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    # PNG, as JPEG would change the pixels that are to be modelled.
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
                    "photo": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str):
        for index, photo in enumerate(PHOTOS):
            pixels = read_photo(photo)
            height, width = pixels.shape[:2]
            region = pixels[regions(height, width, index)[split]]
            stem = Path(photo.path).stem
            for number, patch in enumerate(patches(region, self.builder_config.size)):
                encoded = io.BytesIO()
                Image.fromarray(patch).save(encoded, format="PNG")
                encoded.seek(0)
                yield f"{stem}_{number:05d}", {"image": encoded, "photo": stem}
