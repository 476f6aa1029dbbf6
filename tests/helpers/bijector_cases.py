"""Every bijector once, or once for each of its kinds, and what to feed it: the table of its tests.

A new bijector costs one line in `CASES`.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from lcma_tf import bijectors
from lcma_tf.factorization import masks
from lcma_tf.networks import LUMatrix
from testing import random_whitening

tfb = tfp.bijectors
SHAPE = (4, 4, 2)
SQUEEZED = (2, 2, 8)
KEPT = (2, 2, 4)


class Case(NamedTuple):
    make: object  # dtype -> bijector
    pixels: bool = False  # The data are pixels in (0, 256), not real numbers.
    latent_shape: tuple = SHAPE
    data_shape: tuple = SHAPE
    noise: bool = False  # The second half of the channels is between 0 and 1, on both sides.


def mask(shape=SHAPE, seed=0, share=0.5):
    """A mask of no structure."""
    entries = np.arange(np.prod(shape)) < share * np.prod(shape)
    return np.random.default_rng(seed).permutation(entries).reshape(shape)


def channels(*kept, shape=SHAPE):
    return np.broadcast_to(np.isin(np.arange(shape[-1]), kept), shape)


def conditioner(num_kept, num_changed):
    """Shift and log-scale by one 3x3 convolution of fixed random weights."""
    kernel = np.random.default_rng(7).normal(size=(3, 3, num_kept, 2 * num_changed)) / 3

    def run(kept, **kwargs):
        features = tf.tanh(tf.nn.conv2d(kept, tf.constant(kernel, kept.dtype), 1, "SAME"))
        return tf.split(features, 2, axis=-1)

    return run


def coupling(mask, by_channel=False):
    kept = int(mask[0, 0].sum()) if by_channel else mask.shape[-1]
    changed = mask.shape[-1] - kept if by_channel else mask.shape[-1]
    return bijectors.AffineCoupling(mask, conditioner(kept, changed))


class Bulge(bijectors.CurvedCoupling):
    """The least that a coupling of one's own may be: another slope above 0 than below."""

    num_parameters = 3

    def bend(self, values, curve):
        log_slope = tf.where(values > 0, tf.tanh(curve[0]), 0)
        return values * tf.exp(log_slope), log_slope

    def unbend(self, values, curve):
        log_slope = tf.where(values > 0, tf.tanh(curve[0]), 0)
        return values * tf.exp(-log_slope), log_slope


def curved(mask, by_channel=False, kind=bijectors.SplineCoupling, spread=2.0):
    """Shift, log-scale and curves that differ from place to place, on the scale of `spread`."""
    kept = int(mask[0, 0].sum()) if by_channel else mask.shape[-1]
    changed = mask.shape[-1] - kept if by_channel else mask.shape[-1]
    number = kind.num_parameters - 2
    affine = conditioner(kept, changed)
    kernel = np.random.default_rng(8).normal(size=(3, 3, kept, changed * number)) / 3

    def run(kept, **kwargs):
        features = tf.tanh(tf.nn.conv2d(kept, tf.constant(kernel, kept.dtype), 1, "SAME"))
        curve = tf.reshape(spread * features, [-1, *mask.shape[:2], changed, number])
        return *affine(kept, **kwargs), curve

    return kind(mask, run)


def norm(mask, moments, dtype):
    bijector = bijectors.InFlowBatchNorm(mask, moments, dtype=dtype)
    rng = np.random.default_rng(5)
    bijector.moving_mean.assign(rng.normal(size=mask.shape[-1]))
    bijector.moving_variance.assign(rng.uniform(0.5, 2.0, mask.shape[-1]))
    return bijector


def act_norm(dtype):
    bijector = bijectors.ActNorm(SHAPE, dtype=dtype)
    rng = np.random.default_rng(5)
    bijector.shift.assign(rng.normal(size=SHAPE[-1]))
    bijector.log_scale.assign(rng.normal(size=SHAPE[-1]))
    return bijector


def mix(dtype):
    """An invertible convolution that has left the rotation where it began."""
    weights = LUMatrix(WIDE[-1], seed=3, dtype=dtype)
    weights.factors.assign_add(np.random.default_rng(6).normal(scale=0.3, size=(5, 5)))
    return bijectors.InvertibleConv(weights, WIDE)


def scale(shape, dtype):
    return tfb.Scale(np.random.default_rng(3).uniform(0.5, 2.0, shape).astype(dtype))


def chain(dtype):
    even = masks.checkerboard(SHAPE)
    return bijectors.ImageChain([coupling(even), norm(even, "all", dtype), coupling(~even)], SHAPE)


def flow_layer(dtype):
    inner = coupling(masks.channel_half(KEPT), by_channel=True)
    rest = bijectors.LikelihoodContributionSplit(mask(), inner)
    return bijectors.FlowLayer(chain(dtype), rest, SHAPE)


def dequantization(image_shape):
    channels = image_shape[-1]
    steps = [conditioner(2 * channels, channels) for _ in range(2)]
    return bijectors.VariationalDequantization(steps, image_shape)


def split(inner):
    return bijectors.LikelihoodContributionSplit(mask(), inner)


EVEN, HALF = masks.checkerboard(SHAPE), masks.channel_half(SHAPE)
WIDE = (2, 2, 5)
CASES = {
    "coupling_even": Case(lambda dtype: coupling(EVEN)),
    "coupling_odd": Case(lambda dtype: coupling(~EVEN)),
    "coupling_first_half": Case(lambda dtype: coupling(HALF, by_channel=True)),
    "coupling_second_half": Case(lambda dtype: coupling(~HALF, by_channel=True)),
    "coupling_any_pixels": Case(lambda dtype: coupling(mask(share=0.3))),
    "coupling_scattered_channels": Case(
        lambda dtype: coupling(channels(0, 2, shape=WIDE), by_channel=True), False, WIDE, WIDE
    ),
    "coupling_inner_channels": Case(
        lambda dtype: coupling(channels(1, 2, shape=WIDE), by_channel=True), False, WIDE, WIDE
    ),
    "spline_even": Case(lambda dtype: curved(EVEN)),
    "spline_any_pixels": Case(lambda dtype: curved(mask(share=0.3))),
    "spline_first_half": Case(lambda dtype: curved(HALF, by_channel=True)),
    "spline_scattered_channels": Case(
        lambda dtype: curved(channels(0, 2, shape=WIDE), by_channel=True), False, WIDE, WIDE
    ),
    "curve_of_ones_own": Case(lambda dtype: curved(~EVEN, kind=Bulge)),
    "conditional_exit": Case(lambda dtype: bijectors.ConditionalExit(mask(), conditioner(4, 4))),
    "norm_even_changed": Case(lambda dtype: norm(EVEN, "changed", dtype)),
    "norm_even_all": Case(lambda dtype: norm(EVEN, "all", dtype)),
    "norm_half_changed": Case(lambda dtype: norm(HALF, "changed", dtype)),
    "norm_half_all": Case(lambda dtype: norm(HALF, "all", dtype)),
    "act_norm": Case(act_norm),
    "invertible_conv": Case(mix, False, WIDE, WIDE),
    "squeeze": Case(lambda dtype: bijectors.Squeeze(SHAPE), data_shape=SQUEEZED),
    "squeezed": Case(
        lambda dtype: bijectors.Squeezed(coupling(masks.channel_half(SQUEEZED), True), SHAPE)
    ),
    "squeezed_foreign": Case(lambda dtype: bijectors.Squeezed(scale(SQUEEZED, dtype), SHAPE)),
    "pixel_two_sided": Case(lambda dtype: bijectors.PixelLogit(0.05, "two_sided", SHAPE), True),
    "pixel_one_sided": Case(lambda dtype: bijectors.PixelLogit(0.05, "one_sided", SHAPE), True),
    "rotation": Case(lambda dtype: bijectors.ChannelRotation([[0.6, 0.8], [-0.8, 0.6]], SHAPE)),
    "whitening": Case(lambda dtype: bijectors.CausalWhitening(random_whitening(2), SHAPE)),
    "split": Case(lambda dtype: split(coupling(masks.channel_half(KEPT), True))),
    "split_scale": Case(lambda dtype: split(scale(KEPT, dtype))),
    "split_invert": Case(lambda dtype: split(tfb.Invert(coupling(masks.channel_half(KEPT), True)))),
    "split_chain": Case(
        lambda dtype: split(tfb.Chain([scale(KEPT, dtype), tfb.Sinh(), scale(KEPT, dtype)]))
    ),
    "dequantization": Case(lambda dtype: dequantization((4, 4, 1)), noise=True),
    "dequantization_of_colours": Case(
        lambda dtype: dequantization((3, 2, 3)), False, (3, 2, 6), (3, 2, 6), noise=True
    ),
    "chain": Case(chain),
    "chain_foreign": Case(lambda dtype: bijectors.ImageChain([scale(SHAPE, dtype)], SHAPE)),
    "flow_layer": Case(flow_layer),
    "last_flow_layer": Case(lambda dtype: bijectors.FlowLayer(chain(dtype), None, SHAPE)),
    "foreign": Case(lambda dtype: bijectors.ForeignBijector(scale(SHAPE, dtype), SHAPE)),
}


def latents(case, batch_shape, dtype):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(*batch_shape, *case.latent_shape))
    return tf.constant(_with_noise(values) if case.noise else values, dtype)


def data(case, batch_shape, dtype):
    rng = np.random.default_rng(2)
    size = (*batch_shape, *case.data_shape)
    values = rng.uniform(0.5, 255.5, size) if case.pixels else rng.normal(size=size)
    return tf.constant(_with_noise(values) if case.noise else values, dtype)


def _with_noise(values):
    first, second = np.split(values, 2, axis=-1)
    return np.concatenate([first, 1 / (1 + np.exp(-second))], axis=-1)
