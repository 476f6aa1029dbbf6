"""TensorFlow's alarm about retracing: for one function that is traced again, not for several flows."""

import logging

import pytest
import tensorflow as tf

from lcma_tf.traced import traced


@pytest.fixture
def alarms():
    """What TensorFlow warns of."""
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logger = tf.get_logger()
    logger.addHandler(handler)
    yield told
    logger.removeHandler(handler)


def doubling():
    def double(x):
        return 2 * x

    return double


def test_functions_of_the_same_code_are_no_alarm(alarms):
    for value in range(8):
        assert int(traced(doubling(), reduce_retracing=True)(tf.constant(value))) == 2 * value
    assert alarms == []


def test_one_function_that_is_traced_again_and_again_is(alarms):
    function = traced(doubling())
    for value in range(8):
        function(value)  # Python numbers: each is another one.
    assert len(alarms) == 2 and "triggered tf.function retracing" in alarms[0]
