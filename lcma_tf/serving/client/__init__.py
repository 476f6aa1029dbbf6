"""Who asks a model server: over REST or gRPC, with retries, checked before it is sent. No TensorFlow."""
