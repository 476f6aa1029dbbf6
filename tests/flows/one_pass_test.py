"""Every conditioner runs once: convolutions in the traced graphs, in nested functions too."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf import NegativeLogLikelihood
from testing import count_ops, num_convolutions, random_images, tiny_flow, tiny_glow

tfd = tfp.distributions
SHAPE = (4, 4, 2)


FLOWS = {
    "realnvp": lambda **options: tiny_flow(num_residual_blocks=2, num_couplings=3, **options),
    "glow": lambda **options: tiny_glow(image_shape=SHAPE, **options),
}


@pytest.fixture(scope="module", params=FLOWS)
def make(request):
    return FLOWS[request.param]


@pytest.fixture(scope="module")
def model(make):
    return make()


@pytest.fixture(scope="module")
def one_pass(model):
    """Of RealNVP (2 blocks x 2 convs) + 3 skips + first + last, for 10 couplings; of Glow 3 for 4."""
    if model.config.flow == "glow":
        return 4 * 3
    number = num_convolutions(model.config)
    assert number == 10 * (4 + 3 + 2)
    conditioners = [net for net in model.networks if hasattr(net, "num_residual_blocks")]

    @tf.function
    def each_once():
        return [net(tf.zeros([1, 4, 4, net.in_channels])) for net in channel_conditioners]

    channel_conditioners = [net for net in conditioners if net.pixel_mask is None]
    assert len(conditioners) == 10 and len(channel_conditioners) == 3
    assert count_ops(each_once.get_concrete_function()) == 3 * number / 10  # By running them.
    return number


def traced(function, *arguments):
    return tf.function(function, autograph=False).get_concrete_function(*arguments)


def batch(dtype=tf.float32):
    return tf.TensorSpec([None, *SHAPE], dtype)


def test_public_scores(model, one_pass):
    assert count_ops(model.passes.log_prob.get_concrete_function()) == one_pass
    # The bound's loop holds the body once.
    assert count_ops(model.passes.bound.get_concrete_function()) == one_pass


def test_public_samples_and_codes(model, one_pass):
    for function in (model.passes.sample, model.passes.encode, model.passes.decode):
        assert count_ops(function.get_concrete_function()) == one_pass


def test_distribution(model, one_pass):
    distribution = model.distribution
    assert count_ops(traced(distribution.log_prob, batch())) == one_pass
    assert count_ops(traced(lambda: distribution.sample(3))) == one_pass


@pytest.mark.parametrize("spread", [0.1, 10.0])
def test_a_draw_and_its_density(make, one_pass, spread, monkeypatch):
    """One pass; a draw that had to be brought into the range of pixels is scored as what it became."""
    model = make(random_weights=None)  # Grey in the middle.
    base = tfd.Sample(tfd.Normal(0.0, spread), SHAPE)
    distribution = model.distribution.copy(distribution=base)
    plain = tfd.TransformedDistribution(base, distribution.bijector)
    assert count_ops(traced(lambda: plain.experimental_sample_and_log_prob(3))) == one_pass
    both = traced(lambda: distribution.experimental_sample_and_log_prob(3))
    assert count_ops(both) == 2 * one_pass  # One of them in the branch that may not run.

    run, convolve = [], tf.nn.conv2d
    monkeypatch.setattr("tensorflow.nn.conv2d", lambda *a, **k: run.append(1) or convolve(*a, **k))
    pixels, _ = distribution.experimental_sample_and_log_prob(3, seed=(1, 2))
    inside = np.all((pixels > 0) & (pixels < 255.9))
    assert inside == (spread < 1)
    assert len(run) == (1 if inside else 2) * one_pass


def test_sampling_and_scoring_the_sample(model, one_pass):
    def sample_then_score(distribution):
        images = distribution.sample(3)
        return images, distribution.log_prob(images)

    assert count_ops(traced(lambda: sample_then_score(model.distribution))) == 2 * one_pass
    plain = tfd.TransformedDistribution(model.distribution.distribution, model.flow)
    assert count_ops(traced(lambda: sample_then_score(plain))) == one_pass


@pytest.mark.parametrize("log_det_first", [False, True])
def test_a_value_and_its_log_det_in_either_order(model, one_pass, log_det_first):
    bijector = model.distribution.bijector

    def value_and_log_det(y):
        if log_det_first:
            return bijector.inverse_log_det_jacobian(y, event_ndims=3), bijector.inverse(y)
        return bijector.inverse(y), bijector.inverse_log_det_jacobian(y, event_ndims=3)

    assert count_ops(traced(value_and_log_det, batch())) == one_pass


def test_contributions(model, one_pass):
    function = traced(lambda images: model.layer_terms(images, 0.5), batch(tf.uint8))
    assert count_ops(function) == one_pass


def test_training_step(make, one_pass):
    model = make()
    loss = NegativeLogLikelihood()
    model.compile(keras.optimizers.SGD(), loss=loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    step = traced(model.train_step, (tf.convert_to_tensor(random_images(4, SHAPE)),))
    assert count_ops(step, "Conv2D") == one_pass  # The forward pass; backward has other ops.
    assert count_ops(step, "Conv2DBackpropFilter") == one_pass


def test_the_count_descends_into_functions():
    convolve = tf.function(lambda x: tf.nn.conv2d(x, tf.ones([1, 1, 2, 2]), 1, "SAME"))

    def twice_nested(x):
        return tf.while_loop(
            lambda i, x: i < 3, lambda i, x: (i + 1, convolve(x)), (0, convolve(x))
        )

    assert count_ops(traced(twice_nested, batch())) == 2
