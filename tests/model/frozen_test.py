"""A frozen flow says what its model says, owns what it needs, and no longer follows the model."""

import numpy as np
import pytest
import tensorflow as tf

from testing import count_ops, num_convolutions, random_images, randomize, tiny_flow

SHAPE = (8, 4, 2)
# Folding rounds elsewhere; what is left is the rounding of a sum over the dimensions.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", ["lcma", "none"])
def test_it_says_what_the_model_says(rule, dtype):
    model = tiny_flow(rule, dtype, image_shape=SHAPE, num_residual_blocks=2)
    frozen, images = model.frozen(), random_images(5, SHAPE)
    rtol = TOLERANCE[dtype]
    np.testing.assert_allclose(frozen.log_prob(images, 3), model.log_prob(images, 3), rtol=rtol)
    np.testing.assert_allclose(
        frozen.bits_per_dim(images, num_importance_samples=3),
        model.bits_per_dim(images, num_importance_samples=3),
        rtol=rtol,
    )
    np.testing.assert_allclose(frozen.encode(images), model.encode(images), rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(frozen.decode(frozen.encode(images)), images)
    ours, theirs = frozen.sample(4, seed=2).numpy(), model.sample(4, seed=2).numpy()
    assert np.mean(ours != theirs) < 0.01  # A value on the edge of a bin may round either way.


def test_it_is_a_snapshot():
    model = tiny_flow()
    frozen, images = model.frozen(), random_images(3, (4, 4, 2))
    before = frozen.log_prob(images).numpy()
    randomize(model, seed=9)
    np.testing.assert_array_equal(frozen.log_prob(images), before)
    assert np.all(model.log_prob(images).numpy() != before)
    np.testing.assert_allclose(model.frozen().log_prob(images), model.log_prob(images), rtol=1e-5)


def test_it_tracks_its_own_variables_only():
    model = tiny_flow()
    frozen = model.frozen()
    theirs = {id(variable.value) for variable in model.variables}
    assert frozen.variables and not theirs & {id(variable) for variable in frozen.variables}
    assert not frozen.trainable_variables
    assert {id(v) for v in frozen.distribution.bijector.variables} <= {
        id(v) for v in frozen.variables
    }


def test_a_pass_is_convolutions_without_what_weights_alone_decide():
    model = tiny_flow(num_residual_blocks=2)
    graph = model.frozen().passes.log_prob.get_concrete_function()
    assert count_ops(graph) == num_convolutions(model.config)
    live = model.passes.log_prob.get_concrete_function()
    # Rsqrt is in every weight normalization and batch norm, Unpack in every stack of kernels.
    for op in ("Rsqrt", "Unpack"):
        assert count_ops(graph, op) < count_ops(live, op)
    assert count_ops(graph, "Rsqrt") == 0


def test_training_mode_is_refused():
    frozen = tiny_flow().frozen()
    with pytest.raises(ValueError, match="no training mode"):
        frozen.flow.inverse_and_layer_terms(tf.zeros([1, 4, 4, 2]), training=True)
