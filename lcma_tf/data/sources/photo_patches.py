"""The embedded set `photo_patches`: its builder, and TFDS with it, is imported only on demand."""

import contextlib
import io

from lcma_tf.data.image_data import SPLITS, DataError, ImageData
from lcma_tf.data.sources.local_files import expanded, require_tfds
from lcma_tf.data.sources.tfds_arrays import is_prepared, prepare, read_split


def load_photo_patches(
    argument: str, data_dir: str | None = None, image_size: int | None = None
) -> ImageData:
    """Reads the embedded set `photo_patches`, preparing it (a few seconds) on first use.

    Args:
        argument: `""` (`/32x32`, or the size of `image_size`), `/32x32` or `/64x64`.
        data_dir: as for `load_tfds`; it must be writable the first time.
        image_size: None, 32 or 64, and equal to the size in `argument`.

    Raises:
        DataError: another size, or a photograph that is not installed.
        MissingExtraError: TFDS is not installed.
    """
    require_tfds()
    from lcma_tf.data.sources.photo_patches_builder import PhotoPatches, check_photos

    config = argument or f"/{image_size or 32}x{image_size or 32}"
    known = [f"/{config}" for config in PhotoPatches.builder_configs]
    if config not in known or image_size not in (None, int(config.rpartition("x")[2])):
        raise DataError(
            f"photo_patches: must be one of {', '.join('photo_patches' + k for k in known)}, with "
            f"`image_size` None or the same; got photo_patches{argument}, image_size={image_size}"
        )
    name = "photo_patches" + config
    builder = PhotoPatches(config=config[1:], data_dir=expanded(data_dir))
    if not is_prepared(builder):
        check_photos()
    # TFDS prints what it prepares, which is news for a download but not for this.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        prepare(builder, name, data_dir)
    train, validation, test = (read_split(builder, name, split) for split in SPLITS)
    return ImageData(name, train, validation, test, description=builder.info.description)
