"""Images whose static shape nobody knows, as `tf.io.decode_png` leaves it: checked at every entrance."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from testing import assert_close, random_images, tiny_flow

SHAPE = (4, 4, 3)
COLOURS = random_images(3, SHAPE)
GREY = random_images(3, (4, 4, 1))
UNKNOWN = {"dimensions": [None, None, None, None], "rank": None}
every_unknown = pytest.mark.parametrize("shape", UNKNOWN.values(), ids=UNKNOWN)


@pytest.fixture(scope="module")
def model():
    return tiny_flow(image_shape=SHAPE, num_scales=1)


@pytest.fixture(scope="module")
def frozen(model):
    return model.frozen()


def pixels(images):
    return images + np.float32(0.5)


def hidden(images):
    return np.float32(images / 256)


# By name: how a batch is asked about, and what the batch is made of.
ENTRANCES = {
    "log_prob": (lambda m: m.log_prob, None),
    "bound": (lambda m: lambda x: m.log_prob(x, num_importance_samples=2), None),
    "bits_per_dim": (lambda m: m.bits_per_dim, None),
    "encode": (lambda m: m.encode, None),
    "interpolate": (lambda m: lambda x: m.interpolate(x, x, steps=2), None),
    "parts": (lambda m: lambda x: m.log_prob_parts(x, m.scoring_noise(0)), None),
    "decode": (lambda m: m.decode, hidden),
    "distribution": (lambda m: m.distribution.log_prob, pixels),
    "inverse": (lambda m: m.distribution.bijector.inverse, pixels),
    "forward": (lambda m: m.distribution.bijector.forward, hidden),
    "log-det": (lambda m: lambda x: m.flow.forward_log_det_jacobian(x, 3), hidden),
}


@every_unknown
@pytest.mark.parametrize("name", ENTRANCES)
def test_a_batch_of_unknown_shape_is_taken_if_right_and_refused_if_grey(frozen, name, shape):
    of_model, prepare = ENTRANCES[name]
    ask, prepare = of_model(frozen), prepare or (lambda images: images)
    right = prepare(COLOURS)
    traced = tf.function(ask, [tf.TensorSpec(shape, right.dtype)], autograph=False)
    assert_close(traced(right), ask(right), 1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must have .*; got\] \[3 4 4 1\]"):
        traced(prepare(GREY))
    with pytest.raises(ValueError, match=r"must have .*4, 4, 3.*; got \[3, 4, 4, 1\]\.$"):
        ask(prepare(GREY))


def test_too_few_dimensions_are_no_error_of_tensorflows_own(frozen):
    traced = tf.function(frozen.log_prob, [tf.TensorSpec(None, tf.uint8)], autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`images` must have .*\] \[4\]"):
        traced(COLOURS[0, 0, :, 0])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"`images` must have .*\] \[4 4 3\]"):
        traced(COLOURS[0])


def test_other_batch_shapes_of_the_distribution(frozen):
    score = frozen.distribution.log_prob
    expected = score(pixels(COLOURS))
    for shape in ([None, None, None, None, None], None):
        traced = tf.function(score, [tf.TensorSpec(shape, tf.float32)], autograph=False)
        assert_close(traced(pixels(COLOURS)[None]), expected[None], 1e-4)
    assert_close(traced(pixels(COLOURS)[0]), expected[0], 1e-4)


def files(images, shape):
    """A data set of batches of 2, read as from PNG files."""
    encoded = [tf.io.encode_png(image).numpy() for image in images]
    decoded = tf.data.Dataset.from_tensor_slices(encoded).map(tf.io.decode_png).batch(2)
    assert decoded.element_spec.shape == tf.TensorShape([None, None, None, None])
    if shape is not None:
        return decoded
    same = tf.data.Dataset.from_generator(
        lambda: iter(decoded), output_signature=tf.TensorSpec(None, tf.uint8)
    )
    return same.apply(tf.data.experimental.assert_cardinality(2))


@pytest.mark.parametrize(
    ("right", "wrong", "shape"),
    [(COLOURS, GREY, UNKNOWN["rank"]), (GREY, COLOURS, UNKNOWN["dimensions"])],
    ids=["colours", "grey"],
)
def test_fit_evaluate_and_predict(right, wrong, shape):
    def compiled():
        model = tiny_flow(image_shape=right.shape[1:], num_scales=1)
        model.compile(
            keras.optimizers.SGD(1e-3), lcma_tf.NegativeLogLikelihood(), jit_compile=False
        )
        return model

    known, model = compiled(), compiled()
    options = {"verbose": 0, "shuffle": False}
    expected = known.fit(right, batch_size=2, **options).history
    actual = model.fit(files(right, shape), **options).history
    assert expected.keys() == actual.keys()
    for name in expected:
        assert_close(actual[name], expected[name], 1e-4, name)
    assert_close(
        model.evaluate(files(right, shape), verbose=0),
        known.evaluate(right, batch_size=2, verbose=0),
        1e-4,
    )
    assert_close(model.predict(files(right, shape), verbose=0), known(right), 1e-3)
    # But for the count of calls, which decides the noise alone.
    kept = [weight for weight in model.weights if weight.name != "training_calls"]
    before = [weight.numpy() for weight in kept]
    for use, arguments in ((model.fit, options), (model.evaluate, {}), (model.predict, {})):
        with pytest.raises(tf.errors.InvalidArgumentError, match="`images` must have shape"):
            use(files(wrong, shape), **arguments)
    for old, weight in zip(before, kept, strict=True):
        np.testing.assert_array_equal(weight, old)
