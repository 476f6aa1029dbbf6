"""Small archives laid out like the original ones of the benchmark sets, for tests without a network.

Pictures are gradients with a little noise: they survive JPEG, and no two are alike.
"""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image


def pictures(count, height, width, seed=0):
    """Uint8 `[count, height, width, 3]`."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    slopes = rng.uniform(-80, 80, (2, count, 1, 1, 3))
    smooth = rng.uniform(90, 160, (count, 1, 1, 3))
    smooth = smooth + slopes[0] * rows[..., None] + slopes[1] * columns[..., None]
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def encoded(image, kind):
    """One picture as the bytes of a `PNG` or `JPEG` file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=kind)
    return file.getvalue()


def write_tar(path, files, mode="w"):
    """A tar, `mode` `w:gz` for a compressed one, of files {name: bytes} in the order given."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_folder(path, files):
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def png_files(folder, images):
    """{`folder/0000001.png`: bytes}, numbered from 1 as in train_32x32.tar."""
    return {f"{folder}/{n:07d}.png": encoded(x, "PNG") for n, x in enumerate(images, start=1)}


def rows_of(images):
    """Images as rows of three planes."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def npz_batch(images):
    """The bytes of one npz batch of the newer ImageNet."""
    file = io.BytesIO()
    labels = np.ones(len(images), np.int64)
    np.savez(file, data=rows_of(images), labels=labels, mean=np.zeros(3))
    return file.getvalue()


def cifar_binary_batch(images):
    """The bytes of one `.bin` batch: a byte of label, then three planes."""
    labels = np.full((len(images), 1), 7, np.uint8)
    return np.concatenate([labels, rows_of(images)], axis=1).tobytes()


def cifar_pickled_batch(images, name=b"numpy.core.multiarray\n_reconstruct"):
    """The bytes of one batch as Python 2 and the NumPy of 2009 pickled them, opcode by opcode."""
    rows = rows_of(images)
    minus_one = b"J\xff\xff\xff\xff"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * minus_one + b"K\x00tb"
    shape = b"".join(b"J" + struct.pack("<i", size) for size in rows.shape) + b"\x86"
    data = b"T" + struct.pack("<i", rows.size) + rows.tobytes()
    array = b"c" + name + b"\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape + dtype
    array += b"\x89" + data + b"tb"
    labels = b"](" + b"K\x07" * len(rows) + b"e"
    return b"\x80\x02}(U\x06labels" + labels + b"U\x04data" + array + b"u."


def idx_file(images):
    """The bytes of a gzipped idx file of grey images `[N, H, W]`."""
    header = struct.pack(">4I", 0x00000803, *images.shape)
    return gzip.compress(header + images.tobytes(), compresslevel=1)


def refuse_downloads(monkeypatch, error):
    """TFDS raises `error` instead of preparing a set."""

    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)


def prepare_by_tfds(data_dir, name, splits, feature="image"):
    """Arrays or lists of images {split: images} as a set that TFDS takes for its own `name`.

    Where TFDS has no set of that name, its version is 1.0.0.
    """
    kind, _, config = name.partition("/")
    try:
        version = str(tfds.builder(name, data_dir=str(data_dir)).version)
    except tfds.core.DatasetNotFoundError:
        version = "1.0.0"
    declared = (None, None, next(iter(splits.values()))[0].shape[-1])  # As downsampled_imagenet.
    tfds.dataset_builders.store_as_tfds_dataset(
        name=kind,
        config=config or None,
        version=version,
        data_dir=str(data_dir),
        split_datasets={
            split: tf.data.Dataset.from_generator(
                lambda images=images: ({feature: image} for image in images),
                output_signature={feature: tf.TensorSpec(declared, tf.uint8)},
            )
            for split, images in splits.items()
        },
        features=tfds.features.FeaturesDict(
            {feature: tfds.features.Image(shape=declared, encoding_format="png")}
        ),
        disable_shuffling=True,
    )
