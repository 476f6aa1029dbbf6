"""The RealNVP conditioner against a slow and plain one in NumPy, its statistics, its L2."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.factorization import masks
from lcma_tf.networks import ResidualConditioner
from testing import assert_close, randomize

EPSILON = 1e-4
SHAPE = (4, 6)
MASK = masks.checkerboard((*SHAPE, 1))
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
every_kind = pytest.mark.parametrize("pixel_mask", [MASK, None], ids=["pixels", "channels"])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def conditioner(pixel_mask, dtype="float64", **changes):
    arguments = {"in_channels": 3, "out_channels": 2, "width": 4, "num_residual_blocks": 2}
    network = ResidualConditioner(
        **{**arguments, **changes}, pixel_mask=pixel_mask, dtype=dtype, name="conditioner"
    )
    randomize(network, seed=3)
    return network


def features(n=5, dtype="float64"):
    return np.random.default_rng(4).normal(size=(n, *SHAPE, 3)).astype(dtype)


def weights_of(network):
    """Every weight by the name that the reference uses: the one place that knows the layer's own."""
    names = (
        "scale input_beta input_kernel input_bias beta block_kernels block_magnitude block_bias "
        "skip_kernels skip_magnitude skip_bias output_kernel output_magnitude output_bias"
    )
    weights = {name: np.asarray(getattr(network, name), np.float64) for name in names.split()}
    for name, moments in (("input", network.input_moments), ("hidden", network.moments)):
        weights[f"{name}_mean"], weights[f"{name}_variance"] = (np.asarray(m) for m in moments)
    return weights


def convolve(x, kernel, magnitude=1.0):
    """`SAME` convolution with kernels of norm `magnitude`, one tap of the kernel after the other."""
    kernel = kernel * magnitude / np.sqrt(np.sum(kernel**2, axis=(0, 1, 2)))
    height, width = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(x, [(0, 0), (height, height), (width, width), (0, 0)])
    result = 0.0
    for i, j in np.ndindex(kernel.shape[:2]):
        result = result + padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[i, j]
    return result


class Reference:
    """The network in NumPy, in training or with given moments; `moments` lists what it measured."""

    def __init__(self, weights, training):
        self.weights, self.training, self.moments = weights, training, []

    def normalize(self, x, beta, mean, variance):
        if self.training:
            mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.moments.append((mean, variance))
        return (x - mean) / np.sqrt(variance + EPSILON) + beta

    def hidden(self, x, index):
        w = self.weights
        moments = w["hidden_mean"][index], w["hidden_variance"][index]
        return np.maximum(self.normalize(x, w["beta"][index], *moments), 0)

    def __call__(self, kept, pixel_mask):
        w = self.weights
        x = self.normalize(kept, w["input_beta"], w["input_mean"], w["input_variance"])
        if pixel_mask is None:
            x = np.concatenate([x, -x], axis=-1)
        else:
            mask = np.repeat(pixel_mask[None], len(x), axis=0)
            x = np.concatenate([2 * x, -2 * x, mask], axis=-1)
        x = convolve(np.maximum(x, 0), w["input_kernel"]) + w["input_bias"]
        total = convolve(x, w["skip_kernels"][0], w["skip_magnitude"][0]) + w["skip_bias"][0]
        for block in range(len(w["block_bias"])):
            first, second = w["block_kernels"][2 * block : 2 * block + 2]
            hidden = convolve(self.hidden(x, 2 * block), first)
            hidden = convolve(
                self.hidden(hidden, 2 * block + 1), second, w["block_magnitude"][block]
            )
            x = x + hidden + w["block_bias"][block]
            skip = convolve(x, w["skip_kernels"][block + 1], w["skip_magnitude"][block + 1])
            total = total + skip + w["skip_bias"][block + 1]
        x = convolve(self.hidden(total, -1), w["output_kernel"], w["output_magnitude"])
        shift, raw = np.split(x + w["output_bias"], 2, axis=-1)
        return shift, w["scale"] * np.tanh(raw)


@every_kind
@every_dtype
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
def test_the_output_is_that_of_the_plain_network(pixel_mask, dtype, training):
    network, kept = conditioner(pixel_mask, dtype), features(dtype=dtype)
    expected = Reference(weights_of(network), training)(kept.astype(np.float64), pixel_mask)
    for actual, value in zip(network(kept, training=training), expected, strict=True):
        assert actual.dtype == dtype and actual.shape == (5, *SHAPE, 2)
        assert_close(actual, value, TOLERANCE[dtype])


@every_kind
@every_dtype
@pytest.mark.parametrize("momentum", [0.9, 0.25])
def test_moving_moments_move_towards_those_of_the_batch(pixel_mask, dtype, momentum):
    network, kept = conditioner(pixel_mask, dtype), features(dtype=dtype)
    before = weights_of(network)
    reference = Reference(before, training=True)
    reference(kept.astype(np.float64), pixel_mask)
    network(kept, training=True, momentum=momentum)
    after = weights_of(network)
    (mean, variance), *hidden = reference.moments
    measured = {"input_mean": mean, "input_variance": variance}
    measured["hidden_mean"], measured["hidden_variance"] = map(np.stack, zip(*hidden, strict=True))
    for name, value in before.items():
        if name in measured:
            value = momentum * value + (1 - momentum) * measured[name]
        assert_close(after[name], value, TOLERANCE[dtype], name)


def test_inference_moves_nothing():
    network = conditioner(MASK)
    before = weights_of(network)
    network(features(), training=False)
    for name, value in weights_of(network).items():
        np.testing.assert_array_equal(value, before[name])


@every_kind
def test_l2_is_of_the_magnitudes_and_of_the_scales_of_pixel_masks(pixel_mask):
    network = conditioner(pixel_mask, magnitude_l2=0.03)
    weights = weights_of(network)
    squares = sum(np.sum(value**2) for name, value in weights.items() if "magnitude" in name)
    if pixel_mask is not None:
        squares += weights["scale"] ** 2
    assert_close(sum(network.losses), 0.03 * squares, 1e-6)  # Keras' coefficient is a float32.
    assert not conditioner(pixel_mask, magnitude_l2=0.0).losses


def test_fresh_weights():
    network = ResidualConditioner(3, 2, 4, 2, pixel_mask=MASK, initial_scale=0.0)
    weights = weights_of(network)
    for name, value in weights.items():
        if "kernel" in name:
            assert np.std(value) > 0
            continue
        expected = {"block_magnitude": np.sqrt(9 / 6), "skip_magnitude": np.sqrt(1 / 6)}
        expected["output_magnitude"] = np.sqrt(1 / 6)
        constant = expected.get(name, 1.0 if name.endswith("variance") else 0.0)
        np.testing.assert_allclose(value, constant, rtol=1e-6, err_msg=name)
    shift, log_scale = network(features(dtype="float32"))
    assert np.std(shift) > 0 and not np.any(log_scale)


def test_a_seed_decides_the_weights():
    one, same, other = (ResidualConditioner(3, 2, 4, 1, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.input_kernel, same.input_kernel)
    assert np.any(np.asarray(one.input_kernel) != np.asarray(other.input_kernel))


@every_kind
def test_the_config_makes_the_same_layer_again(pixel_mask):
    network = conditioner(pixel_mask, "float32", seed=5)
    again = ResidualConditioner.from_config(network.get_config())
    assert again.get_config() == network.get_config()
    for variable, like in zip(network.weights, again.weights, strict=True):
        like.assign(variable)
    kept = features(dtype="float32")
    np.testing.assert_array_equal(network(kept)[0], again(kept)[0])


def test_scaling_a_kernel_changes_nothing():
    network, kept = conditioner(MASK), features()
    shift, log_scale = network(kept)
    for variable in network.trainable_variables:
        if "kernel" in variable.name:
            variable.assign(3.0 * tf.convert_to_tensor(variable))
    for actual, expected in zip(network(kept), (shift, log_scale), strict=True):
        assert_close(actual, expected, 1e-10)
