"""Where images come from: a file for each source, which `lcma_tf.data.loading` knows by name."""
