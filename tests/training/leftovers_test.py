"""What a study drops between its runs, and a run after its pretraining."""

import logging

import tensorflow as tf

from lcma_tf.training.leftovers import nothing_left_behind


def double(x):
    return 2 * x


def test_short_runs_one_after_the_other_are_no_function_that_is_traced_too_often():
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    tf.get_logger().addHandler(handler)
    try:
        for _ in range(3):
            with nothing_left_behind():
                for _ in range(4):
                    tf.function(double)(tf.constant(1))
        assert told == []
        for _ in range(8):  # Without it, TensorFlow does warn.
            tf.function(double)(tf.constant(1))
        assert "triggered tf.function retracing" in told[0]
    finally:
        tf.get_logger().removeHandler(handler)
