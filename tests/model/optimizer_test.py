"""FusedAdam takes the steps of Keras' Adam, and refuses what its kernel cannot do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.model.fused_adam import FusedAdam


def _steps(optimizer, num_steps=5, dtype="float32", rates=()):
    """The weights after steps down a badly scaled bowl, whose gradients are nowhere near zero."""
    curvature = tf.constant([[1.0, 50.0], [1000.0, 0.1]], dtype)
    variable = keras.Variable(np.array([[1.0, -2.0], [3.0, 4.0]]), dtype=dtype)
    for _ in range(num_steps):
        if rates:
            optimizer.learning_rate = next(rates)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(curvature * tf.square(variable.value + 10.0))
        gradient = tape.gradient(loss, variable.value)
        optimizer.apply_gradients([(gradient, variable)])
    return variable.numpy()


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_those_of_keras_adam(clip, dtype):
    arguments = {"epsilon": 1e-8, "global_clipnorm": clip}
    expected = _steps(keras.optimizers.Adam(0.1, **arguments), dtype=dtype)
    np.testing.assert_allclose(
        _steps(FusedAdam(0.1, **arguments), dtype=dtype), expected, rtol=1e-5
    )


def test_a_schedule_is_followed():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=5)
    expected = _steps(keras.optimizers.Adam(schedule, epsilon=1e-8))
    np.testing.assert_allclose(_steps(FusedAdam(schedule)), expected, rtol=1e-5)


def test_it_takes_over_where_another_has_been():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=9)
    later = FusedAdam(schedule, first_step=4)
    later.iterations.assign(4)
    rates = iter([float(schedule(step)) for step in range(4, 9)])
    plain = keras.optimizers.Adam(0.1, epsilon=1e-8)
    expected = _steps(plain, rates=rates)
    np.testing.assert_allclose(_steps(later), expected, rtol=1e-5)
    assert FusedAdam.from_config(later.get_config()).first_step == 4


def test_it_comes_back_from_its_config():
    optimizer = FusedAdam(0.3, beta_1=0.8, global_clipnorm=7.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(again, FusedAdam)
    assert (float(again.learning_rate), again.beta_1, again.global_clipnorm) == pytest.approx(
        (0.3, 0.8, 7.0)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_averages_reach_back_a_tenth_of_the_steps_at_most(dtype):
    variable = keras.Variable(np.ones(3), dtype=dtype)
    optimizer = FusedAdam(0.1, use_ema=True, ema_momentum=0.2)
    average = 0.0
    for step in range(6):
        optimizer.apply_gradients([(tf.constant([1.0, -2.0, 3.0], dtype), variable)])
        momentum = min(0.2, step / (step + 10))
        average = momentum * average + (1 - momentum) * variable.numpy()
        ((owner, found),) = optimizer.averages()
        assert owner is variable and found.dtype == dtype
        np.testing.assert_allclose(found, average, rtol=1e-6)


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="`amsgrad` must be False"):
        FusedAdam(amsgrad=True)
