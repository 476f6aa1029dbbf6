"""Masks that no rule decided: as good as those of a rule, in a factorization, a model and a file."""

import numpy as np
import pytest

import lcma_tf
from testing import random_images, tiny_config

SHAPE = (4, 4, 2)
UPPER = np.repeat([True, True, False, False], 8).reshape(SHAPE)


def custom(masks=(UPPER,), **changes):
    return lcma_tf.Factorization(
        **{"rule": "custom", "image_shape": SHAPE, "masks": masks, **changes}
    )


def test_a_model_of_them_is_the_same_after_it_was_saved(tmp_path):
    model = lcma_tf.FlowModel(tiny_config(), custom())
    model.save(tmp_path / "model.keras")
    loaded, images = lcma_tf.load(tmp_path), random_images(3, SHAPE)
    assert loaded.factorization == custom()
    np.testing.assert_array_equal(loaded.log_prob(images), model.log_prob(images))


@pytest.mark.parametrize("masks", [[UPPER], (UPPER.tolist(),), UPPER[None]])
def test_they_may_come_in_any_sequence(masks, tmp_path):
    assert custom(masks) == custom()
    custom(masks).save(tmp_path / "mine.npz")
    assert lcma_tf.Factorization.load(tmp_path / "mine.npz") == custom()


def test_any_name_is_a_label():
    assert custom(rule="what I tried on Monday").rule == "what I tried on Monday"
    for wrong in ("", None, 3):
        with pytest.raises(lcma_tf.FactorizationError, match="`rule` must be a name; got"):
            custom(rule=wrong)


def test_the_masks_are_held_to_the_rules():
    for masks, message in (
        ([UPPER.astype(int)], "mask_1 must be bool .* got int"),
        ([UPPER | ~UPPER], "mask_1 must .* half True"),
        (None, "`masks` must be a sequence of arrays; got NoneType"),
        ([UPPER, UPPER], r"mask_2 must be bool of shape \(2, 2, 4\)"),
    ):
        with pytest.raises(lcma_tf.FactorizationError, match=message):
            custom(masks)
    with pytest.raises(
        lcma_tf.FactorizationError, match="num_scales=3; .* 1 masks of rule 'custom'"
    ):
        lcma_tf.FlowModel(tiny_config(image_shape=(4, 8, 2), num_scales=3), custom())


def test_no_rule_of_that_name_decides():
    with pytest.raises(lcma_tf.FactorizationError, match=r"masks that are given: .*rule='custom'"):
        lcma_tf.decide_factorization("custom", image_shape=SHAPE, num_scales=2)
    with pytest.raises(lcma_tf.ConfigError, match="`split_rule` must be one of .*; got 'custom'"):
        lcma_tf.TrainConfig(split_rule="custom")
