"""Every trainable variable is seen by Keras and by TFP, and gets a gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf import bijectors
from lcma_tf.factorization import masks
from lcma_tf.networks import ResidualConditioner
from testing import random_images, tiny_flow

SHAPE = (4, 4, 2)
IMAGES = random_images(16, SHAPE)


@pytest.fixture(scope="module")
def model():
    return tiny_flow(base_dim=4)


def gradients(model, loss):
    """Gradient by name of the variable; None where there is none."""

    @tf.function(autograph=False)
    def compute():
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, [v.value for v in model.trainable_variables])

    names = [variable.path for variable in model.trainable_variables]
    return dict(zip(names, compute(), strict=True))


def test_keras_and_tfp_see_the_same_variables(model):
    owned = [variable.value for variable in model.trainable_variables]
    assert len(owned) == 14 * 4  # Variables of a conditioner, conditioners.
    for seen in (
        model.distribution.trainable_variables,
        model.distribution.bijector.trainable_variables,
        model.flow.trainable_variables,
    ):
        assert len(seen) == len(owned)
        assert {id(variable) for variable in seen} == {id(variable) for variable in owned}
    moments = [variable.value for variable in model.non_trainable_variables]
    seen = {id(variable) for variable in model.distribution.variables}
    assert {id(variable) for variable in moments + owned} >= seen
    assert len(seen) == len(owned) + 6 * 4  # Three pairs of moments with each conditioner.


def test_gradients_of_the_distribution_reach_every_variable(model):
    y = tf.constant(IMAGES + np.float32(0.5))
    found = gradients(
        model,
        lambda: tf.reduce_mean(model.distribution.log_prob(y)),
    )
    missing = [name for name, value in found.items() if value is None or not np.any(value)]
    assert not missing


def test_gradients_of_samples_reach_every_variable(model):
    latents = tf.random.stateless_normal([16, *SHAPE], [0, 0])
    found = gradients(
        model,
        lambda: tf.reduce_mean(tf.sin(model.flow.forward(latents))),
    )
    missing = [name for name, value in found.items() if value is None or not np.any(value)]
    assert not missing


# In training a batch norm takes away what these add to every pixel, up to rounding: as in the
# original program their gradient is zero there, and they work through the moving moments.
REMOVED_BY_BATCH_NORM = ("input_bias", "block_bias", "skip_bias")


@pytest.mark.parametrize("moments", ["changed", "all"])
def test_gradients_of_the_training_loss_reach_every_variable(moments):
    model = tiny_flow(base_dim=4, batch_norm_moments=moments)
    noise = np.random.default_rng(0).uniform(size=IMAGES.shape)
    found = gradients(
        model,
        lambda: -tf.reduce_mean(model.log_prob_parts(IMAGES, noise, training=True)),
    )
    assert not [name for name, value in found.items() if value is None]
    assert not [name for name, value in found.items() if not np.isfinite(value).all()]
    size = {name: np.abs(value).max() for name, value in found.items()}
    small = {name for name, value in size.items() if value < 1e-5}
    assert small == {name for name in size if name.endswith(REMOVED_BY_BATCH_NORM)}


class Unbuilt(keras.layers.Layer):
    """A conditioner of a user, as Keras' layers are before their first call: without variables."""

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.convolution = keras.layers.Conv2D(2 * channels, 3, padding="same", dtype=self.dtype)

    def call(self, kept, **kwargs):
        return tf.split(tf.tanh(self.convolution(kept)), 2, axis=-1)


@pytest.mark.parametrize(
    ("mask", "channels"), [(masks.channel_half(SHAPE), 1), (masks.checkerboard(SHAPE), 2)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_coupling_builds_the_network_that_is_not(mask, channels, dtype):
    network = Unbuilt(channels, dtype=dtype)
    coupling = bijectors.AffineCoupling(mask, network)
    base = tfp.distributions.Sample(tfp.distributions.Normal(tf.zeros([], dtype), 1), SHAPE)
    flow = bijectors.ImageChain([bijectors.PixelLogit(event_shape=SHAPE), coupling], SHAPE)
    distribution = tfp.distributions.TransformedDistribution(base, flow)
    owned = {id(variable.value) for variable in network.trainable_variables}
    assert len(owned) == 2
    for seen in (coupling, flow, distribution):
        assert {id(variable) for variable in seen.trainable_variables} == owned
    latents = tf.random.stateless_normal([2, *SHAPE], [0, 0], dtype=dtype)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.sin(coupling.inverse(latents)))
    assert None not in tape.gradient(value, coupling.trainable_variables)


def test_a_coupling_alone_shows_the_variables_of_its_network():
    network = ResidualConditioner(1, 1, 2, 1)
    coupling = bijectors.AffineCoupling(masks.channel_half(SHAPE), network)
    owned = {id(variable.value) for variable in network.trainable_variables}
    assert {id(variable) for variable in coupling.trainable_variables} == owned
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(
            tf.sin(coupling.inverse(tf.random.stateless_normal([4, *SHAPE], [0, 0])))
        )
    assert None not in tape.gradient(value, coupling.trainable_variables)
