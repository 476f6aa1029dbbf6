"""Rotations of the channels: fitted, checked, kept with the factorization, applied by the flow."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from lcma_tf import Factorization, FactorizationError
from lcma_tf.bijectors import ChannelRotation
from lcma_tf.factorization.rotation import klt
from testing import random_images, tiny_config, tiny_factorization

SHAPE = (4, 4, 3)


def rotation(size=3, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def turned(rule="realnvp", num_scales=2):
    """A factorization with a rotation before the first and the last scale."""
    split = tiny_factorization(rule, SHAPE, num_scales)
    last = split.level_shapes(num_scales)[-1][-1]
    return dataclasses.replace(
        split, rotations=[rotation(), *[None] * (num_scales - 2), rotation(last)]
    )


def test_the_klt_decorrelates_with_most_variance_first():
    root = np.random.default_rng(0).normal(size=(3, 3))
    covariance = root @ root.T
    matrix = klt(covariance)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-14)
    diagonal = matrix @ covariance @ matrix.T
    np.testing.assert_allclose(diagonal, np.diag(np.diag(diagonal)), atol=1e-12)
    assert np.all(np.diff(np.diag(diagonal)) < 0)
    assert np.all(matrix[np.arange(3), np.abs(matrix).argmax(axis=1)] > 0)
    np.testing.assert_array_equal(klt(np.eye(1)), [[1.0]])


def test_the_klt_of_what_is_constant_turns_nothing():
    rounding = np.array([[3e-14, 2e-14, 0], [2e-14, -1e-14, 0], [0, 0, 1e-14]])
    np.testing.assert_array_equal(klt(rounding), np.eye(3))


@pytest.mark.parametrize("rule", ["realnvp", "none"])
def test_a_rotation_is_kept_in_the_file_and_in_json(rule, tmp_path):
    factorization = turned(rule, num_scales=3)
    factorization.save(tmp_path / "f.npz")
    for again in (
        Factorization.load(tmp_path / "f.npz"),
        Factorization.from_dict(json.loads(json.dumps(factorization.to_dict()))),
    ):
        assert again == factorization and hash(again) == hash(factorization)
        assert again.rotation(0).dtype == np.float32 and again.rotation(1) is None
        np.testing.assert_array_equal(again.rotation(2), factorization.rotation(2))
    assert factorization != tiny_factorization(rule, SHAPE, 3)
    assert "rotations" not in tiny_factorization(rule, SHAPE, 3).to_dict()  # As it was before.


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ([np.eye(3) * (1 + 2e-5)], "`rotation_1` must be orthogonal to 1e-05; .* by 4e-05"),
        ([np.eye(4)], "rotation_1 must be 3 x 3, for the channels that enter scale 1; got .4, 4."),
        ([None, np.eye(3)], "rotation_2 must be 6 x 6"),
        ([np.ones((3, 2))], r"`rotation_1` must be a square matrix .*; got float64 \(3, 2\)"),
        ([np.eye(3) * np.nan], "differs from the identity by nan"),
        ([np.eye(3).astype(complex)], "of real numbers; got complex128"),
        (
            [[[1.0, 0.0], [0.0]]],
            r"`rotation_1` must be a square matrix; got \[\[1.0, 0.0\], \[0.0\]\]",
        ),
        ([None, None, np.eye(12)], "`rotations` must be at most one a scale, 2; got 3"),
    ],
)
def test_what_is_no_rotation_is_refused(matrices, message):
    with pytest.raises(FactorizationError, match=message):
        dataclasses.replace(tiny_factorization("realnvp", SHAPE, 2), rotations=matrices)


def test_a_bijector_of_no_rotation_is_refused():
    with pytest.raises(FactorizationError, match="`matrix` must be orthogonal to 1e-05"):
        ChannelRotation(np.eye(3) * 1.1)


def test_images_of_other_channels_are_refused():
    turn = ChannelRotation(np.eye(4))
    for way in (turn.forward, turn.inverse):
        with pytest.raises(ValueError, match="must have 4 channels; got 3"):
            way(tf.zeros([1, 2, 2, 3]))


def test_it_is_orthogonal_again_after_float32():
    matrix = rotation().astype(np.float32)
    product = ChannelRotation(matrix).matrix @ ChannelRotation(matrix).matrix.T
    assert np.abs(product - np.eye(3)).max() < 1e-14 < np.abs(matrix @ matrix.T - np.eye(3)).max()


@pytest.mark.parametrize("rule", ["realnvp", "none"])
def test_a_flow_turns_the_colours_before_its_levels(rule):
    plain = lcma_tf.FlowModel(tiny_config(image_shape=SHAPE), tiny_factorization(rule, SHAPE, 2))
    model = lcma_tf.FlowModel(plain.config, turned(rule))
    images = random_images(3, SHAPE)
    hidden = model.passes.in_flow(images, 0.5)
    x, _ = model.flow.inverse_and_terms(hidden)
    # Fresh couplings over channels alone would not show it: they start as the identity.
    by_hand = tf.tensordot(hidden, tf.constant(rotation().T, tf.float32), 1)
    first = plain.flow._layer.inverse(by_hand)
    np.testing.assert_allclose(model.layer_values(images, 0.5)[0], first, atol=1e-5)
    np.testing.assert_array_equal(model.layer_values(images, 0.5)[-1], x)
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)
    # In double precision too, whatever a float32 file can say.
    wide = lcma_tf.FlowModel(plain.config, turned(rule), dtype="float64")
    parts = model.log_prob_parts(images, 0.5)
    wide.set_weights(model.get_weights())
    np.testing.assert_allclose(wide.log_prob_parts(images, 0.5), parts, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.frozen().log_prob_parts(images, 0.5), parts, rtol=1e-4, atol=1e-5
    )


def test_it_is_saved_with_the_flow(tmp_path):
    model = lcma_tf.FlowModel(tiny_config(image_shape=SHAPE), turned())
    model.save(tmp_path / "flow.keras")
    again, images = lcma_tf.load(tmp_path / "flow.keras"), random_images(2, SHAPE)
    assert again.factorization == model.factorization
    np.testing.assert_array_equal(again.log_prob(images), model.log_prob(images))
