"""Small SavedModels of plain operations, for tests of what loads, runs and verifies them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

IMAGES = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
EVERY = {
    "uint8": np.array([0, 255], np.uint8),
    "int32": np.array([-(2**31), 2**31 - 1], np.int32),
    "int64": np.array([-(2**63), 2**63 - 1], np.int64),
    "float32": np.array([-1.5, np.finfo(np.float32).max], np.float32),
    "float64": np.array([1e-300, -np.pi]),
    "bool": np.array([True, False]),
    # The second is too long for the place that a string has in its array, and ends in zeros.
    "string": np.array([b"", bytes(range(256)) + b"\0\0"], object),
}
# One request for each signature.
REQUESTS = {
    "scale": {"images": IMAGES},
    "level": {"images": IMAGES},
    "checked": {"images": IMAGES},
    "logarithm": {"values": np.ones((1, 1), np.float32), "shift": np.float32(0)},
    "text": {"text": EVERY["string"]},
    "fourth": {"text": np.array([b"abcd"], object)},
    "every": EVERY,
}


def save(path, *names):
    """Saves a module with the signatures `names`, or all; returns `path`.

    `scale` reads a variable, `checked` holds its images to a shape, `every` gives back what it gets.
    """
    module = tf.Module()
    module.factor = tf.Variable(0.5)

    def scale(images):
        scaled = tf.cast(images, tf.float32) * module.factor
        return {"scaled": scaled, "total": tf.reduce_sum(scaled, axis=[1, 2, 3]), "same": images}

    def level(images):
        return {"images": images // 2}

    def checked(images):
        images = tf.ensure_shape(images, [None, 2, 3, 3])
        with tf.control_dependencies(
            [tf.debugging.assert_positive(tf.shape(images)[0], "no rows")]
        ):
            return {"total": tf.reduce_sum(tf.cast(images, tf.int32), axis=[1, 2, 3])}

    def logarithm(values, shift):
        return {"logarithm": tf.math.log(values + shift)}

    def text(text):
        return {"twice": tf.strings.join([text, text]), "length": tf.strings.length(text)}

    def fourth(text):  # What is shorter is refused, with its bytes in the message.
        return {"byte": tf.strings.substr(text, 4, 1)}

    def every(**inputs):
        return {f"{name}_again": tf.identity(value) for name, value in inputs.items()}

    images = {"images": tf.TensorSpec([None, 2, 3, 3], tf.uint8)}
    functions = {
        "scale": (scale, images),
        "level": (level, images),
        "checked": (checked, {"images": tf.TensorSpec(None, tf.uint8)}),
        "logarithm": (
            logarithm,
            {
                "values": tf.TensorSpec([None, 1], tf.float32),
                "shift": tf.TensorSpec([], tf.float32),
            },
        ),
        "text": (text, {"text": tf.TensorSpec([None], tf.string)}),
        "fourth": (fourth, {"text": tf.TensorSpec([None], tf.string)}),
        "every": (every, {name: tf.TensorSpec([None], name) for name in EVERY}),
    }
    signatures = {}
    for name in names or functions:
        function, specs = functions[name]
        named = {key: tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in specs.items()}
        signatures[name] = tf.function(function).get_concrete_function(**named)
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path
