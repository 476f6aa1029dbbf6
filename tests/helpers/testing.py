"""What the tests of flows share: tiny flows with random weights, Jacobians, counted ops.

What is fresh is too tame to test with: a new checkerboard scale is 0, new moments are 0 and 1. So
`tiny_flow` moves every variable, and whatever a formula forgets then shows.
"""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

import lcma_tf
from lcma_tf.data import ImageData
from lcma_tf.factorization import Whitening

# Per dtype, how far values may be from what they should be: absolute and relative.
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}


def assert_close(actual, expected, tolerance, what=""):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)


def assert_same_in_any_batch(found, expected, what=""):
    """That they differ by no more than a batch of another size may change: the last digits.

    Scores `[N]` by 1e-6 of their size, as docs/exactness.md says (float32 itself has 6e-8); latents
    by 1e-5 of the largest; images by one level in one of 1,000 pixels, where a rounding tips over.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype, what
    if expected.dtype == np.uint8:
        levels = np.abs(found.astype(int) - expected)
        assert levels.max(initial=0) <= 1, what
        assert np.count_nonzero(levels) <= max(1, levels.size // 1000), what
    elif expected.ndim == 1:
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=what)
    else:
        size = np.abs(expected).max(initial=0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * size, err_msg=what)


def random_images(n, shape, seed=0):
    """Uint8 images `[n, *shape]`, all 256 values alike."""
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def blank_images(height, width, channels, dtype=np.uint8):
    """The smallest data set of such images: one in each split, all 0."""
    image = np.zeros((1, height, width, channels), dtype)
    return ImageData("blank", image, image, image)


def tiny_factorization(rule, image_shape, num_scales, seed=0):
    """One of `rule`, decided by random evidence where it reads some."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=image_shape) for _ in range(num_scales)]
    return lcma_tf.decide_factorization(
        rule,
        image_shape=image_shape,
        num_scales=num_scales,
        contributions=layers,
        gain=layers,
        logits=rng.normal(size=(50, *image_shape)),
        seed=seed,
    )


def tiny_config(**changes):
    """A quick one: a coupling of each kind in a level, which costs a third of the default's to trace.

    Where it matters how couplings meet, tests ask for `num_couplings=3`.
    """
    tiny = {
        "image_shape": (4, 4, 2),
        "num_scales": 2,
        "num_couplings": 1,
        "base_dim": 2,
        "num_residual_blocks": 1,
    }
    return lcma_tf.FlowConfig(**{**tiny, **changes})


def without_values():
    """A scope in which a flow of any size is built at once: its variables have shapes, but no values.

    Full-size ones are hundreds of MB each, and with oneDNN TensorFlow keeps the most that it ever had.
    """
    return keras.StatelessScope(initialize_variables=False)


def tiny_flow(
    rule="lcma",
    dtype=None,
    random_weights=1,
    rematerialize=False,
    spread=0.3,
    whitens=False,
    **changes,
):
    """A `FlowModel` of a few hundred weights; `random_weights=None` leaves them fresh."""
    config = tiny_config(**changes)
    factorization = tiny_factorization(rule, config.image_shape, config.num_scales)
    if whitens:
        whitening = random_whitening(config.image_shape[-1])
        factorization = dataclasses.replace(factorization, whitening=whitening)
    model = lcma_tf.FlowModel(config, factorization, dtype, rematerialize=rematerialize)
    if random_weights is not None:
        randomize(model, random_weights, spread)
    return model


def random_whitening(channels, reach=2, seed=0):
    """One that keeps the rules, and as those of images are: what is left of a pixel is enlarged."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(scale=0.2, size=(reach + 1, 2 * reach + 1, channels, channels))
    kernel[-1, reach:] = 0
    kernel[-1, reach] = np.triu(rng.normal(scale=0.5, size=(channels, channels)), 1)
    kernel[-1, reach] += np.diag(rng.uniform(1.5, 4.0, channels))
    return Whitening(kernel, rng.normal(size=channels))


def tiny_glow(rule="lcma", dtype=None, random_weights=1, **changes):
    """A Glow of some thousand weights. Matrices one after the other bear less at random."""
    tiny = {"flow": "glow", "image_shape": (8, 8, 2), "num_steps_per_scale": 2, "base_dim": 4}
    return tiny_flow(rule, dtype, random_weights, spread=0.1, **{**tiny, **changes})


def randomize(owner, seed, spread=0.3):
    """Moves every variable of a Keras model or layer by random amounts; variances stay positive."""
    rng = np.random.default_rng(seed)
    for variable in owner.variables:
        old = np.asarray(variable)
        if variable.name.endswith("variance"):
            new = rng.uniform(0.5, 2.0, old.shape)
        elif variable.trainable or variable.name.endswith("mean"):
            new = old + rng.normal(scale=spread, size=old.shape)
        else:
            continue  # Seeds, counters, sums of metrics.
        variable.assign(new.astype(old.dtype))


def jacobian(function, x):
    """`[D_out, D_in]` of `function` at one image `x`, by automatic differentiation.

    One backward pass over D copies of the image, each asked about another output dimension: right
    for functions that treat the images of a batch independently of one another.
    """
    x = tf.convert_to_tensor(x)
    output_shape = function(x[None]).shape[1:]
    size = int(np.prod(output_shape))
    copies = tf.repeat(x[None], size, axis=0)
    with tf.GradientTape() as tape:
        tape.watch(copies)
        outputs = function(copies)
    basis = tf.reshape(tf.eye(size, dtype=x.dtype), [size, *output_shape])
    rows = tape.gradient(outputs, copies, output_gradients=basis, unconnected_gradients="zero")
    return tf.reshape(rows, [size, -1]).numpy()


def difference_jacobian(function, x, step=1e-5):
    """The same by central differences, for which the function may be anything; float64."""
    x = np.asarray(x, np.float64)
    steps = (step * np.eye(x.size)).reshape(x.size, *x.shape)
    change = function(tf.constant(x + steps)) - function(tf.constant(x - steps))
    return (np.asarray(change).reshape(x.size, -1) / (2 * step)).T


def log_abs_det(matrix):
    return np.linalg.slogdet(matrix)[1]


def count_ops(concrete_function, op_type="Conv2D"):
    """Ops of one type in a traced function and in every function that it calls."""
    definition = concrete_function.graph.as_graph_def()
    library = {
        function.signature.name: function.node_def for function in definition.library.function
    }

    def count(nodes):
        total = 0
        for node in nodes:
            total += node.op == op_type
            called = [a.func.name for a in node.attr.values() if a.WhichOneof("value") == "func"]
            called += [f.name for a in node.attr.values() for f in a.list.func]
            total += sum(count(library[name]) for name in called if name in library)
        return total

    return count(definition.node)


def num_convolutions(config):
    """Convolutions of one pass over all conditioners of a RealNVP."""
    couplings = [2 * config.num_couplings] * (config.num_scales - 1)
    couplings.append(config.num_couplings + 1)
    first_and_last = 2
    return sum(
        number * (first_and_last + 2 * blocks + blocks + 1)
        for number, blocks in zip(couplings, config.blocks, strict=True)
    )
