"""The end of every pipeline of tf.data here: what is made while its last element is worked on."""

import tensorflow as tf

# Elements made ahead. To gather a batch takes far less than to train on it.
AHEAD = 2


def ahead(elements: tf.data.Dataset) -> tf.data.Dataset:
    """`elements`, the next `AHEAD` of which are made while one is used; tf.data tunes nothing.

    The thread that tunes an iterator looks at it at intervals that double up to a minute, and who
    drops the iterator may have to wait out the last of them: runs ended a minute after their last line.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return elements.prefetch(AHEAD).with_options(options)
