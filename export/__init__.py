"""The commands of serving (docs/serving.md); what they do is in `lcma_tf.serving`."""
