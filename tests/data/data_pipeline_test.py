"""Batches depend on (seed, step) alone, and an epoch shows every image once."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf import data

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3), dtype=np.uint8)
REAL = IMAGES.astype(np.float32) + np.float32(0.3)
NUMBERED = np.arange(24, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)


def batches(count, images=IMAGES, batch_size=3, seed=0, **options):
    dataset = data.training_batches(images, batch_size, seed, **options)
    return np.stack(list(dataset.take(count).as_numpy_iterator()))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("start_step", [1, 2, 3, 4, 7])  # Three steps are an epoch.
def test_a_later_start_continues_the_unbroken_stream(start_step, flip):
    whole = batches(start_step + 5, flip=flip)
    np.testing.assert_array_equal(whole[start_step:], batches(5, start_step=start_step, flip=flip))


def test_each_epoch_is_a_permutation_of_its_own():
    order = batches(9, NUMBERED, batch_size=8)[..., 0, 0, 0].reshape(3, 24)
    for epoch in order:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(24))
    assert not np.array_equal(order[0], order[1])
    assert not np.array_equal(order[1], order[2])


def test_no_image_twice_within_an_epoch_with_a_dropped_batch():
    order = batches(4, NUMBERED, batch_size=5)[..., 0, 0, 0]
    assert len(np.unique(order)) == 20


def test_seeds_differ_and_repeat():
    np.testing.assert_array_equal(batches(4, seed=1, flip=True), batches(4, seed=1, flip=True))
    assert not np.array_equal(batches(4, seed=1), batches(4, seed=2))


def test_flips_mirror_about_half_of_the_images():
    plain, flipped = batches(60), batches(60, flip=True)
    same = (plain == flipped).all(axis=(2, 3, 4))
    mirrored = (plain[:, :, :, ::-1] == flipped).all(axis=(2, 3, 4))
    assert (same | mirrored).all()
    assert 0.35 < mirrored.mean() < 0.65
    assert len(np.unique(mirrored, axis=0)) > 2  # Other flips in other steps.


def test_no_thread_that_tunes_has_to_be_waited_for():
    # Its interval doubles up to a minute, which a process then waits at its end.
    for dataset in (data.training_batches(IMAGES, 3, seed=0), data.evaluation_batches(IMAGES, 3)):
        assert dataset.options().autotune.enabled is False


def test_real_valued_images_pass_unchanged():
    # The same images in the same order, flips included, bit for bit.
    whole = batches(7, flip=True).astype(np.float32) + np.float32(0.3)
    np.testing.assert_array_equal(batches(7, REAL, flip=True), whole)
    dataset = data.training_batches(REAL, 3, seed=0, flip=True)
    assert dataset.element_spec == tf.TensorSpec([3, 4, 5, 3], tf.float32)
    scored = np.concatenate(list(data.evaluation_batches(REAL, 4).as_numpy_iterator()))
    assert scored.dtype == np.float32
    np.testing.assert_array_equal(scored, REAL)


def test_static_shape_and_endless():
    dataset = data.training_batches(IMAGES, 3, seed=0)
    assert dataset.element_spec == tf.TensorSpec([3, 4, 5, 3], tf.uint8)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


def test_evaluation_drops_nothing():
    parts = list(data.evaluation_batches(IMAGES, 4).as_numpy_iterator())
    assert [len(part) for part in parts] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(parts), IMAGES)


@pytest.mark.parametrize(
    ("images", "batch_size", "start_step", "message"),
    [
        (IMAGES, 12, 0, "at most the number of images, 11; got 12"),
        (IMAGES, 0, 0, "`batch_size` must be an integer of at least 1; got 0"),
        (IMAGES, "2", 0, "`batch_size` must be an integer of at least 1; got '2'"),
        (IMAGES, 2.0, 0, "`batch_size` must be an integer of at least 1; got 2.0"),
        (IMAGES, 2, -1, "`start_step` must be an integer of at least 0; got -1"),
        (IMAGES, 2, 1.5, "`start_step` must be an integer of at least 0; got 1.5"),
        (IMAGES.tolist(), 2, 0, "uint8 or float32 array .*; got list"),
        (None, 2, 0, "uint8 or float32 array .*; got NoneType"),
        (IMAGES.astype(np.float64), 2, 0, "uint8 or float32 .*got float64"),
        (IMAGES[0], 2, 0, r"got uint8 \[4, 5, 3\]"),
    ],
)
def test_bad_arguments(images, batch_size, start_step, message):
    with pytest.raises(data.DataError, match=message):
        data.training_batches(images, batch_size, 0, start_step)


@pytest.mark.parametrize("seed", [(0, 1), 0.5, None])
def test_a_seed_is_one_integer(seed):
    with pytest.raises(data.DataError, match="`seed` must be one integer; got"):
        data.training_batches(IMAGES, 2, seed)


def resident_bytes():
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux' own figures")
def test_the_images_are_not_copied():
    # 490 MB that nobody has written to, so that they are not resident; a copy would be.
    images = np.zeros((40_000, 64, 64, 3), np.uint8)
    before = resident_bytes()
    held = [iter(data.training_batches(images, 16, seed=0, flip=True))]
    held.append(iter(data.evaluation_batches(images, 16)))
    for batches_of in held:
        next(batches_of)
    assert resident_bytes() - before < images.nbytes / 2
