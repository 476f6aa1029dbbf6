"""`lcma_tf.load(workdir).distribution` is a part like any other in a program of TFP, at one pass."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lcma_tf
from testing import (
    assert_close,
    count_ops,
    difference_jacobian,
    num_convolutions,
    random_images,
    tiny_config,
    tiny_flow,
)

tfb, tfd = tfp.bijectors, tfp.distributions
SHAPE = (4, 4, 2)
SIZE = 4 * 4 * 2
SEED = (3, 4)
EXACT = 1e-9  # Everything here is float64.
PIXELS = tf.constant(random_images(3, SHAPE) + 0.5, tf.float64)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    tiny_flow(dtype="float64").save(workdir / "model.keras")
    return lcma_tf.load(workdir).distribution


@pytest.fixture(scope="module")
def latents(flow):
    return flow.bijector.inverse(PIXELS)


@pytest.fixture(scope="module")
def log_det(flow):
    return flow.bijector.inverse_log_det_jacobian(PIXELS, event_ndims=3)


def number(value):
    return tf.constant(value, tf.float64)


def student_t(df=5.0, batch_shape=()):
    """Heavy tails in every latent dimension."""
    return tfd.Sample(tfd.StudentT(tf.fill(batch_shape, number(df)), number(0), number(1)), SHAPE)


def num_passes(function, *arguments):
    """Passes over all conditioners in the traced graph of `function`."""
    traced = tf.function(function, autograph=False).get_concrete_function(*arguments)
    return count_ops(traced) / num_convolutions(tiny_config())


def assert_one_pass(distribution, batch_shape=(), passes_to_draw=1):
    value = tf.TensorSpec([None, *[1 for _ in batch_shape], *SHAPE], tf.float64)
    assert num_passes(distribution.log_prob, value) == 1
    passes = num_passes(lambda: distribution.experimental_sample_and_log_prob(3, seed=SEED))
    assert passes == passes_to_draw


# The distribution as it is.


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
def test_samples_and_their_densities_in_any_batch_shape(flow, batch_shape):
    samples, nats = flow.experimental_sample_and_log_prob(batch_shape, seed=SEED)
    assert samples.shape == (*batch_shape, *SHAPE) and nats.shape == batch_shape
    assert_close(flow.sample(batch_shape, seed=SEED), samples, EXACT)
    one_by_one = [flow.log_prob(image) for image in tf.reshape(samples, [-1, *SHAPE])]
    assert_close(tf.reshape(nats, [-1]), one_by_one, EXACT)


def test_a_function_is_traced_once_for_all_batch_sizes(flow):
    score = tf.function(
        flow.log_prob, input_signature=[tf.TensorSpec([None, *SHAPE], tf.float64)], autograph=False
    )
    scores = [score(PIXELS[:n]) for n in (1, 2, 3)]
    assert score.experimental_get_tracing_count() == 1
    for n, values in enumerate(scores, start=1):
        assert_close(values, scores[-1][:n], EXACT)
    assert_close(scores[-1], flow.log_prob(tf.identity(PIXELS)), EXACT)


def test_gradients_to_pixels_are_those_of_differences(flow):
    spec = tf.TensorSpec([None, *SHAPE], tf.float64)
    value_and_gradient = tf.function(
        lambda y: tfp.math.value_and_gradient(flow.log_prob, y), [spec], autograph=False
    ).get_concrete_function()
    assert count_ops(value_and_gradient) == num_convolutions(tiny_config())
    _, gradients = value_and_gradient(PIXELS)
    differences = difference_jacobian(lambda y: value_and_gradient(y)[0], PIXELS[0])
    assert_close(tf.reshape(gradients[0], [1, SIZE]), differences, 1e-6)
    assert np.abs(gradients).max() > 1e-2  # Not all of them are below the tolerance.


def test_several_images_as_one_event(flow):
    assert_close(tfd.Sample(flow, 3).log_prob(PIXELS), tf.reduce_sum(flow.log_prob(PIXELS)), EXACT)


# Another base.


def test_another_base(flow, latents, log_det):
    base = student_t()
    heavy = tfd.TransformedDistribution(base, flow.bijector)
    assert_close(heavy.log_prob(PIXELS), base.log_prob(latents) + log_det, EXACT)
    assert_one_pass(heavy)


def test_an_independent_base_with_a_location_for_every_dimension(flow, latents, log_det):
    location = tf.random.stateless_normal(SHAPE, SEED, dtype=tf.float64)
    base = tfd.Independent(tfd.Laplace(location, number(0.5)), 3)
    moved = tfd.TransformedDistribution(base, flow.bijector)
    assert moved.event_shape == SHAPE and moved.batch_shape == ()
    expected = tf.reduce_sum(-2 * abs(latents - location), [1, 2, 3]) + log_det  # 1 / (2 b) = 1.
    assert_close(moved.log_prob(PIXELS), expected, EXACT)


def test_a_batch_of_bases_and_their_mixture(flow, latents, log_det):
    base = student_t(batch_shape=[2])
    heavy = tfd.TransformedDistribution(base, flow.bijector)
    assert heavy.batch_shape == (2,)
    expected = base.log_prob(latents[:, None]) + log_det[:, None]
    assert_close(heavy.log_prob(PIXELS[:, None]), expected, EXACT)
    assert heavy.sample(3, seed=SEED).shape == (3, 2, *SHAPE)
    assert_one_pass(heavy, batch_shape=(2,))

    weights = number([0.3, 0.7])
    mixture = tfd.MixtureSameFamily(tfd.Categorical(probs=weights), heavy)
    assert_close(
        mixture.log_prob(PIXELS), tf.reduce_logsumexp(np.log(weights) + expected, 1), EXACT
    )
    assert mixture.sample(3, seed=SEED).shape == (3, *SHAPE)
    together = tfd.Independent(heavy, 1)  # The batch becomes part of the event.
    assert together.event_shape == (2, *SHAPE)
    pair = tf.tile(PIXELS[:, None], [1, 2, 1, 1, 1])
    assert_close(together.log_prob(pair), tf.reduce_sum(expected, 1), EXACT)


def test_a_base_learns_with_the_flow(flow):
    """All variables are seen in one place, and a step along their gradients raises the likelihood."""
    scale = tfp.util.TransformedVariable(number(2.0), tfb.Softplus())
    base = tfd.Sample(tfd.Normal(tf.Variable(number(0.5)), scale), SHAPE)
    model = tfd.TransformedDistribution(base, flow.bijector)
    variables = model.trainable_variables
    assert len(variables) == len(flow.trainable_variables) + 2

    @tf.function(autograph=False)
    def objective_and_gradients():
        with tf.GradientTape() as tape:
            objective = tf.reduce_mean(model.log_prob(PIXELS))
        return objective, tape.gradient(objective, variables)

    before, gradients = objective_and_gradients()
    assert not [v.name for v, g in zip(variables, gradients, strict=True) if g is None]
    old = [tf.identity(variable) for variable in variables]
    norm = tf.linalg.global_norm(gradients)
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_add(1e-3 * gradient / norm)
    after, _ = objective_and_gradients()
    for variable, value in zip(variables, old, strict=True):
        variable.assign(value)  # The flow is shared by the tests.
    assert_close(after - before, 1e-3 * norm, 0.2 * 1e-3 * norm.numpy())
    assert after > before


# Among other bijectors.


def test_the_inverse_maps_pixels_to_latents(flow, latents, log_det):
    encoder = tfb.Invert(flow.bijector)
    assert_close(encoder.forward(tf.identity(PIXELS)), latents, EXACT)
    assert_close(encoder.inverse(tf.identity(latents)), PIXELS, EXACT)
    actual = encoder.forward_log_det_jacobian(tf.identity(PIXELS), event_ndims=3)
    assert_close(actual, log_det, EXACT)
    codes = tfd.TransformedDistribution(flow, encoder)  # Standard normal again.
    assert_close(codes.log_prob(tf.identity(latents)), flow.distribution.log_prob(latents), EXACT)


def test_a_chain_with_bijectors_before_and_behind(flow):
    unit = tfb.Scale(number(1 / 256))
    sinh = tfb.SinhArcsinh(skewness=number(0.1), tailweight=number(1.1))
    chain = tfb.Chain([unit, flow.bijector, sinh])
    base = flow.distribution
    transformed = tfd.TransformedDistribution(base, chain)
    hidden = flow.bijector.inverse(tf.identity(PIXELS))
    x = sinh.inverse(hidden)
    expected = (
        base.log_prob(x)
        + tf.reduce_sum(sinh.inverse_log_det_jacobian(hidden, event_ndims=0), [1, 2, 3])
        + flow.bijector.inverse_log_det_jacobian(PIXELS, event_ndims=3)
        + SIZE * np.log(256)
    )
    assert_close(transformed.log_prob(PIXELS / 256), expected, EXACT)
    assert_close(chain.forward(tf.identity(x)), PIXELS / 256, EXACT)
    assert_one_pass(transformed)


def test_a_users_bijector_behind_the_whole_distribution(flow):
    unit = tfd.TransformedDistribution(flow, tfb.Scale(number(1 / 256)))
    expected = flow.log_prob(PIXELS) + SIZE * np.log(256)
    assert_close(unit.log_prob(PIXELS / 256), expected, EXACT)
    assert_one_pass(unit, passes_to_draw=2)  # The second if a draw leaves the range of pixels.


# Among other distributions.


def sensor(image):
    """What a camera with noise makes of an image."""
    return tfd.Independent(tfd.Normal(image, number(10)), 3)


def sequential(flow):
    return tfd.JointDistributionSequential([flow, sensor])


def named(flow):
    return tfd.JointDistributionNamed({"image": flow, "photo": lambda image: sensor(image)})


def coroutine(flow):
    def program():
        image = yield tfd.JointDistributionCoroutine.Root(flow)
        yield sensor(image)

    return tfd.JointDistributionCoroutine(program)


@pytest.mark.parametrize("make", [sequential, named, coroutine])
def test_as_prior_of_a_joint_distribution(flow, make):
    joint = make(flow)
    draws = joint.sample(2, seed=SEED)
    image, photo = draws.values() if isinstance(draws, dict) else draws
    assert image.shape == photo.shape == (2, *SHAPE)
    expected = flow.log_prob(tf.identity(image)) + sensor(image).log_prob(photo)
    assert_close(joint.log_prob(draws), expected, EXACT)
    assert num_passes(lambda: joint.log_prob(joint.sample(3, seed=SEED))) == 2  # There and back.


def test_as_likelihood_below_an_unknown_temperature(flow, latents, log_det):
    joint = tfd.JointDistributionSequential(
        [
            tfd.Gamma(number(2), number(2)),
            lambda temperature: tfd.TransformedDistribution(
                tfd.Sample(tfd.Normal(number(0), temperature), SHAPE), flow.bijector
            ),
        ]
    )
    temperatures = number([0.5, 1.0, 2.0])
    expected = (
        tfd.Gamma(number(2), number(2)).log_prob(temperatures)
        - tf.reduce_sum(latents**2, [1, 2, 3]) / (2 * temperatures**2)
        - SIZE * tf.math.log(temperatures * np.sqrt(2 * np.pi))
        + log_det
    )
    assert_close(joint.log_prob(temperatures, PIXELS), expected, EXACT)
    assert joint.sample(2, seed=SEED)[1].shape == (2, *SHAPE)
    scores = tf.TensorSpec([3, *SHAPE], tf.float64)
    assert num_passes(lambda y: joint.log_prob(temperatures, y), scores) == 1


def test_two_flows_in_a_mixture(flow):
    other = tiny_flow(dtype="float64", random_weights=2).distribution
    weights = number([0.3, 0.7])
    mixture = tfd.Mixture(tfd.Categorical(probs=weights), [flow, other])
    both = tf.stack([flow.log_prob(PIXELS), other.log_prob(PIXELS)], axis=1)
    assert_close(mixture.log_prob(PIXELS), tf.reduce_logsumexp(np.log(weights) + both, 1), EXACT)
    assert mixture.sample(2, seed=SEED).shape == (2, *SHAPE)
    assert num_passes(mixture.log_prob, tf.TensorSpec([None, *SHAPE], tf.float64)) == 2  # One each.
