"""TensorFlow Datasets sets: splits made where they lack one, and errors that name the way out."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from lcma_tf import data


def make_set(data_dir, name, counts, shape=(6, 4, 3), sizes=None, feature="image"):
    """A prepared set `name` of images filled with their own number, from train on."""
    number, examples = 0, {}
    for split, count in counts.items():
        examples[split] = []
        for _ in range(count):
            side = (sizes[number % len(sizes)],) * 2 if sizes else shape[:2]
            examples[split].append({feature: np.full((*side, shape[2]), number, np.uint8)})
            number += 1
    declared = (None, None, shape[2])  # As in downsampled_imagenet.
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        data_dir=str(data_dir),
        split_datasets={
            split: tf.data.Dataset.from_generator(
                lambda rows=rows: iter(rows),
                output_signature={feature: tf.TensorSpec(declared, tf.uint8)},
            )
            for split, rows in examples.items()
        },
        features=tfds.features.FeaturesDict(
            {feature: tfds.features.Image(shape=declared, encoding_format="png")}
        ),
        disable_shuffling=True,
    )
    assert builder.is_prepared()


def numbers(images):
    return [int(image[0, 0, 0]) for image in images]


@pytest.mark.parametrize(
    ("counts", "lengths", "notes"),
    [
        ({"train": 20, "validation": 3, "test": 4}, (20, 3, 4), ()),
        ({"train": 20, "test": 4}, (18, 2, 4), ("validation images are the last 2",)),
        ({"train": 20, "validation": 3}, (18, 2, 3), ("is scored as test", "the last 2")),
        ({"train": 20}, (17, 1, 2), ("test images are the last 2", "the last 1")),
    ],
)
def test_splits(tmp_path, counts, lengths, notes):
    make_set(tmp_path, "toy_images", counts)
    images = data.load("toy_images", data_dir=str(tmp_path))
    assert (len(images.train), len(images.validation), len(images.test)) == lengths
    assert images.image_shape == (6, 4, 3)
    for note in notes:
        assert note in images.description
    together = numbers(images.train) + numbers(images.validation) + numbers(images.test)
    assert sorted(together) == list(range(sum(counts.values())))
    if counts.get("validation") and not counts.get("test"):
        assert numbers(images.test) == [20, 21, 22]
        assert numbers(images.validation) == [18, 19]


def test_images_of_several_sizes(tmp_path):
    make_set(tmp_path, "toy_sizes", {"train": 6, "test": 2}, shape=(0, 0, 1), sizes=[4, 8])
    with pytest.raises(data.DataError, match=r"toy_sizes: images of `train` must be of one size"):
        data.load("toy_sizes", data_dir=str(tmp_path))
    images = data.load("toy_sizes", data_dir=str(tmp_path), image_size=4)
    assert images.train.shape == (5, 4, 4, 1)
    assert numbers(images.train) == [0, 1, 2, 3, 4]


def test_sets_without_images_or_with_too_few(tmp_path):
    make_set(tmp_path, "toy_other", {"train": 3}, feature="picture")
    with pytest.raises(data.DataError, match="must have a uint8 feature `image`"):
        data.load("toy_other", data_dir=str(tmp_path))
    make_set(tmp_path, "toy_single", {"train": 1, "test": 1})
    with pytest.raises(data.DataError, match="`train` must have more than 1 images"):
        data.load("toy_single", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifra10", "npz:PATH.*did you mean .*cifar10"),
        ("cifar10/no_such", "TFDS refuses it: .*no_such"),
        ("/some/file.npz", "npz:PATH"),
        ("", "npz:PATH"),
    ],
)
def test_unknown_names_list_the_forms(tmp_path, name, message):
    with pytest.raises(data.DataError, match=message):
        data.load(name, data_dir=str(tmp_path))


@pytest.mark.parametrize(
    "error", [ConnectionError("no network\nmore"), AssertionError("no file"), RuntimeError()]
)
def test_a_failed_download_names_the_manual_way(tmp_path, monkeypatch, error):
    def refuse(*args, **kwargs):
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", refuse)
    with pytest.raises(data.DataError, match=type(error).__name__) as caught:
        data.load("cifar10", data_dir=str(tmp_path))
    assert str(tmp_path / "downloads" / "manual") in str(caught.value)


def test_celeb_a_is_cropped_to_the_face(tmp_path):
    face = np.zeros((218, 178, 3), np.uint8)
    face[40:188, 15:163] = 100

    def served(builder, split, **kwargs):
        del builder, split, kwargs
        return tf.data.Dataset.from_tensors({"image": face}).repeat(12)

    with tfds.testing.mock_data(as_dataset_fn=served, data_dir=str(tmp_path)):
        images = data.load("celeb_a", data_dir=str(tmp_path))
    assert images.image_shape == (64, 64, 3)
    np.testing.assert_array_equal(images.test, 100)
