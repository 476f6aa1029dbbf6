"""Where images come from, row by row: an opener a file, by the names of `lcma_tf.choices.INPUTS`."""
