"""Each replica gets the rows that `replica_rows` says, and every image is scored once."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.config import ConfigError
from lcma_tf.data import training_batches
from lcma_tf.distribute.batches import distribute_evaluation, distribute_training
from testing import random_images

SHAPE = (2, 2, 1)
LAYOUTS = [(1, 2), (2, 2), (2, 4), (3, 6)]  # Workers, replicas over all of them.


class Replicas:
    """Takes the place of a strategy: returns what each replica would get, `[step][replica]`."""

    def __init__(self, num_workers, num_replicas, max_steps=None):
        self.num_workers, self.num_replicas_in_sync = num_workers, num_replicas
        self._max_steps = max_steps

    def distribute_datasets_from_function(self, of_worker):
        num_local = self.num_replicas_in_sync // self.num_workers
        dealt = []
        for worker in range(self.num_workers):
            dataset = of_worker(
                tf.distribute.InputContext(self.num_workers, worker, self.num_replicas_in_sync)
            )
            if self._max_steps is not None:
                dataset = dataset.take(self._max_steps * num_local)
            pieces = [piece.numpy() for piece in dataset]
            # A worker deals the elements of its dataset out to its replicas.
            assert len(pieces) % num_local == 0
            dealt.append([pieces[i : i + num_local] for i in range(0, len(pieces), num_local)])
        return [[piece for worker in step for piece in worker] for step in zip(*dealt, strict=True)]


@pytest.mark.parametrize(("num_workers", "num_replicas"), LAYOUTS)
@pytest.mark.parametrize("flip", [False, True])
def test_the_pieces_of_a_step_are_its_batch_in_order(num_workers, num_replicas, flip):
    images = random_images(30, SHAPE)
    batches = training_batches(images, 12, seed=1, start_step=1, flip=flip)
    steps = distribute_training(Replicas(num_workers, num_replicas, max_steps=5), batches)
    assert len(steps) == 5
    for pieces, batch in zip(steps, batches, strict=False):
        assert {len(piece) for piece in pieces} == {12 // num_replicas}
        np.testing.assert_array_equal(np.concatenate(pieces), batch)


class Kept(Replicas):
    """Returns the data set of its one worker as it is."""

    def distribute_datasets_from_function(self, of_worker):
        return of_worker(tf.distribute.InputContext(1, 0, 2))


def test_endless_batches_stay_endless():
    split = distribute_training(Kept(1, 2), training_batches(random_images(8, SHAPE), 4, seed=0))
    assert split.cardinality() == tf.data.INFINITE_CARDINALITY
    assert split.element_spec.shape == (2, *SHAPE)


def test_tf_data_tunes_nothing():
    images = random_images(8, SHAPE)
    training = distribute_training(Kept(1, 2), training_batches(images, 4, seed=0))
    evaluation, _ = distribute_evaluation(Kept(1, 2), images, 4)
    assert training.options().autotune.enabled is False
    assert evaluation.options().autotune.enabled is False


@pytest.mark.parametrize(("num_workers", "num_replicas"), LAYOUTS)
@pytest.mark.parametrize("num_images", [6, 7, 12, 25])
@pytest.mark.parametrize("batch_size", [6, 12])
def test_every_image_is_scored_once(num_workers, num_replicas, num_images, batch_size):
    images = random_images(num_images, SHAPE)
    steps, num_steps = distribute_evaluation(
        Replicas(num_workers, num_replicas), images, batch_size
    )
    sizes = [len(piece) for pieces in steps for piece in pieces]
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert len(steps) == num_steps <= -(-num_images // batch_size)
    scored = np.concatenate([np.concatenate(pieces) for pieces in steps])
    np.testing.assert_array_equal(scored, images)


def test_more_replicas_than_images_are_refused():
    with pytest.raises(ConfigError, match="validation images, 3; got 4 over all workers"):
        distribute_evaluation(Replicas(2, 4), random_images(3, SHAPE), 8)


def test_one_replica_is_left_alone():
    batches = training_batches(random_images(8, SHAPE), 4, seed=0)
    alone = tf.distribute.get_strategy()
    assert distribute_training(alone, batches) is batches
    scored, num_steps = distribute_evaluation(alone, random_images(9, SHAPE), 4)
    assert [len(batch) for batch in scored] == [4, 4, 1] and num_steps == 3
