"""A SavedModel with the signatures of an exported flow, made in a second: what the clients' tests serve.

Its formulas are so simple that NumPy gives the same answers, here, as `expected_*`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

MAX_BATCH_SIZE = 8


def save(path, image_shape=(4, 6, 3)):
    """Saves it into the folder `path`, for 1 to `MAX_BATCH_SIZE` images of a shape."""
    module = _Module(image_shape)
    tf.saved_model.save(module, str(path), signatures=module.signatures())
    return path


def expected_log_prob(images):
    """Exact in float32: a sum of integers."""
    return -np.sum(images, axis=(1, 2, 3), dtype=np.float32)


def expected_bits_per_dim(images):
    return np.sum(images, axis=(1, 2, 3), dtype=np.float32) / 16


def expected_samples(seed, temperature, image_shape):
    places = np.arange(np.prod(image_shape)).reshape(image_shape)
    values = (7 * seed[:, :1, None, None] + 13 * seed[:, 1:, None, None] + places) % 128
    scaled = values.astype(np.float32) * temperature[:, None, None, None]
    return np.floor(scaled).astype(np.uint8)


def expected_latents(images):
    return (images.astype(np.float32) - 128) / 64


class _Module(tf.Module):
    def __init__(self, image_shape):
        super().__init__()
        self.image_shape = tuple(image_shape)

    def signatures(self):
        images = tf.TensorSpec([None, *self.image_shape], tf.uint8, "images")
        log_prob = tf.function(self._log_prob).get_concrete_function(images=images)
        found = {"serving_default": log_prob, "log_prob": log_prob}
        for name, specs in {
            "log_prob_encoded": [tf.TensorSpec([None], tf.string, "image_bytes")],
            "sample": [
                tf.TensorSpec([None, 2], tf.int32, "seed"),
                tf.TensorSpec([None], tf.float32, "temperature"),
            ],
            "encode": [images],
            "decode": [tf.TensorSpec([None, *self.image_shape], tf.float32, "latents")],
        }.items():
            function = tf.function(getattr(self, f"_{name}"))
            found[name] = function.get_concrete_function(**{spec.name: spec for spec in specs})
        return found

    def _checked(self, tensor, *row):
        tensor = tf.ensure_shape(tensor, [None, *row])
        rows = tf.shape(tensor)[0]
        fits = tf.debugging.Assert((rows >= 1) & (rows <= MAX_BATCH_SIZE), ["rows:", rows])
        with tf.control_dependencies([fits]):
            return tf.identity(tensor)

    def _log_prob(self, images):
        images = self._checked(images, *self.image_shape)
        total = tf.reduce_sum(tf.cast(images, tf.float32), axis=[1, 2, 3])
        return {"log_prob": -total, "bits_per_dim": total / 16}

    def _log_prob_encoded(self, image_bytes):
        def decode(data):
            channels = self.image_shape[-1]
            image = tf.io.decode_image(data, channels, expand_animations=False)
            return tf.ensure_shape(image, self.image_shape)

        spec = tf.TensorSpec(self.image_shape, tf.uint8)
        images = tf.map_fn(decode, self._checked(image_bytes), fn_output_signature=spec)
        return self._log_prob(images)

    def _sample(self, seed, temperature):
        seed, temperature = self._checked(seed, 2), self._checked(temperature)
        valid = tf.reduce_all((temperature >= 0) & (temperature <= 2))
        with tf.control_dependencies([tf.debugging.Assert(valid, ["temperature:", temperature])]):
            seed = tf.identity(seed)
        places = tf.reshape(tf.range(int(np.prod(self.image_shape))), self.image_shape)
        wide = seed[:, :, None, None, None]
        values = tf.math.floormod(7 * wide[:, 0] + 13 * wide[:, 1] + places, 128)
        scaled = tf.cast(values, tf.float32) * temperature[:, None, None, None]
        return {"images": tf.cast(tf.floor(scaled), tf.uint8)}

    def _encode(self, images):
        images = self._checked(images, *self.image_shape)
        return {"latents": (tf.cast(images, tf.float32) - 128) / 64}

    def _decode(self, latents):
        latents = self._checked(latents, *self.image_shape)
        finite = tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(latents)), ["latents"])
        with tf.control_dependencies([finite]):
            return {"images": tf.cast(tf.clip_by_value(latents * 64 + 128, 0, 255), tf.uint8)}
