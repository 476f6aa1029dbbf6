"""Contributions are averages: over some images, of a flow that they fit."""

import numpy as np
import pytest

import lcma_tf
from testing import random_images, tiny_flow

SHAPE = (4, 4, 2)


@pytest.fixture(scope="module")
def model():
    return tiny_flow(image_shape=SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": random_images(0, SHAPE)}, r"at least one image; got \[0, 4, 4, 2\]"),
        ({"images": random_images(2, SHAPE).tolist()}, "`images` must be .*; got list"),
        ({"images": random_images(2, (4, 4, 1))}, r"`images` must have shape \[N, 4, 4, 2\]"),
        ({"images": np.zeros((2, *SHAPE), np.float32)}, "uint8 .* got dtype float32"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1; got 0"),
        ({"batch_size": 2.5}, "`batch_size` must be an integer of at least 1; got 2.5"),
        ({"seed": (0, 1)}, r"`seed` must be one integer .*; got \(0, 1\)"),
        ({"model": None}, "`model` must be a FlowModel; got None"),
    ],
)
def test_senseless_arguments_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        lcma_tf.average_contributions(
            **{"model": model, "images": random_images(2, SHAPE), **options}
        )


def test_the_frozen_copy_is_not_what_is_averaged(model):
    with pytest.raises(lcma_tf.ConfigError, match="`model` must be a FlowModel; got FrozenFlow"):
        lcma_tf.average_contributions(model.frozen(), random_images(2, SHAPE))
