"""The commands of serving (README, Serving); what they do is in `lcma_tf.serving`."""
