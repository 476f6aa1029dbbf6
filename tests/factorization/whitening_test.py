"""Causal whitening: fitted, checked, kept with the factorization, applied by the flow."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import lcma_tf
from lcma_tf import Factorization, FactorizationError
from lcma_tf.bijectors import CausalWhitening
from lcma_tf.factorization import Whitening
from lcma_tf.factorization.whitening import causal_offsets
from lcma_tf.factorization.whitening_fit import predictor
from testing import (
    TOLERANCE,
    assert_close,
    assert_same_in_any_batch,
    jacobian,
    log_abs_det,
    random_images,
    random_whitening,
    tiny_config,
    tiny_factorization,
    tiny_flow,
)

SHAPE = (4, 4, 3)
IMAGES = random_images(3, SHAPE)


def moments_of(kernel, reach):
    """Second moments of a pixel's neighbours and itself, by 4,000 images that `kernel` whitens."""
    whitening = Whitening(kernel, mean=[0.0] * kernel.shape[-1])
    noise = np.random.default_rng(0).normal(size=(4_000, 24, 24, whitening.num_channels))
    images = CausalWhitening(whitening, noise.shape[1:]).forward(tf.constant(noise)).numpy()
    middle = slice(reach, 24 - reach)
    columns = [
        np.roll(images, (-row, -column), (1, 2))[:, middle, middle]
        for row, column in (*causal_offsets(reach), (0, 0))
    ]
    known = np.concatenate(columns, -1).reshape(-1, len(columns) * whitening.num_channels)
    return known.T @ known / len(known)


@pytest.mark.parametrize("reach", [1, 2])
def test_the_fit_finds_what_the_images_were_made_by(reach):
    kernel = np.zeros((reach + 1, 2 * reach + 1, 2, 2))
    kernel[-1, reach] = [[2.0, -0.5], [0.0, 0.5]]
    kernel[-1, reach - 1] = [[-0.8, 0.1], [0.0, -0.2]]
    kernel[-2, reach] = [[-0.4, 0.0], [0.3, -0.1]]
    kernel[-2, reach + 1] = [[0.2, 0.0], [0.0, 0.1]]
    found = predictor(moments_of(kernel, reach), np.array([1.0, -1.0]), reach)
    np.testing.assert_allclose(found.kernel, kernel, atol=0.01)
    assert found.mean.tolist() == [1.0, -1.0]
    np.testing.assert_allclose(found.log_scale, np.log([2.0, 0.5]), atol=0.005)


def test_channels_of_which_nothing_is_left_are_refused():
    size = 2 * (len(causal_offsets(1)) + 1)
    images = np.random.default_rng(0).normal(size=(1_000, size))
    images[:, -1] = images[:, :3].sum(axis=1)
    with pytest.raises(FactorizationError, match="nothing is left of channel 1"):
        predictor(images.T @ images / 1_000, np.zeros(2), reach=1)


def test_it_is_what_the_kernel_says_at_each_pixel():
    whitening = random_whitening(2, reach=2)
    images = np.random.default_rng(1).normal(size=(2, 4, 5, 2))
    found = whitening(images)
    padded = np.pad(images - whitening.mean, ((0, 0), (2, 0), (2, 2), (0, 0)))
    for row, column in np.ndindex(4, 5):
        around = padded[:, row : row + 3, column : column + 5]
        expected = np.einsum("nabm,abmo->no", around, whitening.kernel.astype(np.float64))
        np.testing.assert_allclose(found[:, row, column], expected, atol=1e-12)
    np.testing.assert_allclose(whitening.inverse(found), images, atol=1e-12)
    bijector = CausalWhitening(whitening, (4, 5, 2))
    np.testing.assert_allclose(bijector.inverse(tf.constant(images)), found, atol=1e-12)
    np.testing.assert_allclose(bijector.forward(tf.constant(found)), images, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 4, 5, 2), (2, 1, 1, 2), (2, 1, 5, 2), (3, 5, 1, 2)])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_of_no_images_and_of_small_ones_both_ways_are_there(shape, jit_compile):
    bijector = CausalWhitening(random_whitening(2), shape[1:])

    @tf.function(jit_compile=jit_compile)
    def there_and_back(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            again = bijector.forward(tf.identity(bijector.inverse(images)))
        return again, tape.gradient(again, images)

    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    again, gradient = there_and_back(tf.constant(images))
    np.testing.assert_allclose(again, images, atol=1e-5)
    np.testing.assert_allclose(gradient, np.ones(shape), atol=1e-5)


@pytest.mark.parametrize("rule", ["realnvp", "none"])
def test_it_is_kept_in_the_file_and_in_json(rule, tmp_path):
    plain = tiny_factorization(rule, SHAPE, 3)
    factorization = dataclasses.replace(plain, whitening=random_whitening(3))
    factorization.save(tmp_path / "f.npz")
    for again in (
        Factorization.load(tmp_path / "f.npz"),
        Factorization.from_dict(json.loads(json.dumps(factorization.to_dict()))),
    ):
        assert again == factorization and hash(again) == hash(factorization)
        assert again.whitening.kernel.dtype == again.whitening.mean.dtype == np.float32
        np.testing.assert_array_equal(again.whitening.kernel, factorization.whitening.kernel)
    assert factorization != plain
    assert "whitening" not in plain.to_dict()  # As it was before.
    assert Factorization.from_dict({**plain.to_dict(), "whitening": None}) == plain
    other = dataclasses.replace(plain, whitening=random_whitening(3, seed=1))
    assert other != factorization


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"whitening_mean": None}, "whitening_kernel with whitening_mean; got"),
        ({"whitening_mean": np.zeros(2)}, r"valid one: `whitening_mean` must have shape \(3,\)"),
        ({"whitening_kernel": np.zeros((2, 3, 3, 3))}, "valid one: .* must be above 0 on the diag"),
    ],
)
def test_a_file_that_holds_none_is_refused(tmp_path, changes, message):
    whitening = random_whitening(3)
    dataclasses.replace(tiny_factorization("none", SHAPE, 2), whitening=whitening).save(
        tmp_path / "f.npz"
    )
    with np.load(tmp_path / "f.npz") as file:
        arrays = {**file, **changes}
    np.savez(tmp_path / "g.npz", **{k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(FactorizationError, match=message):
        Factorization.load(tmp_path / "g.npz")


def kernel(**entries):
    """One that keeps the rules, r = 1 and two channels, but for `entries` by their place."""
    found = np.zeros((2, 3, 2, 2))
    found[1, 1] = np.eye(2)
    for place, value in entries.items():
        found[tuple(map(int, place[1:]))] = value
    return found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (kernel(_1200=-0.1), "must be zero right of the pixel in its own row; got -0.1"),
        (kernel(_1110=0.1), "must be zero where a channel would take of a later one; got 0.1"),
        (kernel(_1111=0.0), "must be above 0 on the diagonal of its own pixel; got 0"),
        (kernel(_1111=-1.0), "must be above 0 on the diagonal of its own pixel; got -1"),
        (kernel(_0000=np.nan), "`whitening_kernel` must be finite in float32; got nan"),
        (kernel(_0000=-1e300), "`whitening_kernel` must be finite in float32; got -inf"),
        (kernel()[:1], r"shape \[r \+ 1, 2 r \+ 1, c, c\], r at least 1; got \(1, 3, 2, 2\)"),
        (kernel()[:, :2], r"got \(2, 2, 2, 2\)"),
        (kernel()[..., :1], r"got \(2, 3, 2, 1\)"),
        (kernel()[0], "real numbers with 4 dimensions; got float64"),
        (kernel().astype(complex), "real numbers with 4 dimensions; got complex128"),
        ("k", "real numbers with 4 dimensions; got <U1"),
        ([[0.0, 1.0], [0.0]], "`whitening_kernel` must be an array: "),
    ],
)
def test_what_is_no_whitening_is_refused(wrong, message):
    Whitening(kernel(), mean=[0.0, 0.0])
    with pytest.raises(FactorizationError, match=message):
        Whitening(wrong, mean=[0.0, 0.0])


def test_another_mean_or_number_of_channels_is_refused():
    with pytest.raises(FactorizationError, match=r"`whitening_mean` must have shape \(2,\)"):
        Whitening(kernel(), mean=[0.0])
    plain = tiny_factorization("none", SHAPE, 2)
    with pytest.raises(FactorizationError, match="for the 3 channels .* got one for 2"):
        dataclasses.replace(plain, whitening=Whitening(kernel(), mean=[0.0, 0.0]))
    with pytest.raises(
        FactorizationError, match="`whitening` must be a Whitening or None; got str"
    ):
        dataclasses.replace(plain, whitening="causal")
    whitening = Whitening(kernel(), mean=[0.0, 0.0])
    for images in (np.zeros((1, 4, 4, 3)), np.zeros((4, 4, 2))):
        with pytest.raises(FactorizationError, match=r"`images` must be \[n, H, W, 2\]; got"):
            whitening(images)
    for shape in (SHAPE, (4, 2), (), None, 3, (4, 0, 2), (4, None, 2)):
        with pytest.raises(
            ValueError, match=r"`event_shape` must be \(h, w, 2\), with the channels"
        ):
            CausalWhitening(whitening, shape)
    with pytest.raises(ValueError, match="`whitening` must be a Whitening; got str"):
        CausalWhitening("causal", SHAPE)


@pytest.fixture(scope="module", params=["float32", "float64"])
def flow(request):
    """One that turns colours, whitens and splits, of random weights."""
    plain = tiny_flow("realnvp", request.param, image_shape=SHAPE)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    decided = dataclasses.replace(
        plain.factorization, rotations=[rotation], whitening=random_whitening(3)
    )
    model = lcma_tf.FlowModel(plain.config, decided, request.param)
    model.set_weights(plain.get_weights())
    return model


def test_a_flow_whitens_the_turned_colours_before_its_levels(flow):
    plain = tiny_flow("realnvp", flow.compute_dtype, image_shape=SHAPE)
    hidden = flow.passes.in_flow(IMAGES, 0.5)
    turned = hidden.numpy() @ flow.factorization.rotation(0).T
    by_hand = flow.factorization.whitening(turned)
    first = plain.flow._layer.inverse(tf.constant(by_hand, hidden.dtype))
    np.testing.assert_allclose(flow.layer_values(IMAGES, 0.5)[0], first, rtol=1e-4, atol=1e-4)


def test_a_flow_with_it_is_exact(flow):
    whole, dtype = flow.distribution.bijector, flow.compute_dtype
    y = tf.constant(np.random.default_rng(0).uniform(0.5, 255.5, (2, *SHAPE)), dtype)
    x = whole.inverse(y)
    assert_close(whole.forward(tf.identity(x)), y, 10 * TOLERANCE[dtype])
    log_det = whole.inverse_log_det_jacobian(tf.identity(y), event_ndims=3)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    assert_close(log_det[0], log_abs_det(jacobian(whole.inverse, y[0])), tolerance)
    images = random_images(5, SHAPE)
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)
    alone = np.concatenate([flow.log_prob(image[None]) for image in images])
    assert_same_in_any_batch(alone, flow.log_prob(images))
    assert_close(flow.frozen().log_prob(images), flow.log_prob(images), tolerance)


def test_it_is_saved_with_the_flow(flow, tmp_path):
    flow.save(tmp_path / "flow.keras")
    again, images = lcma_tf.load(tmp_path / "flow.keras"), random_images(2, SHAPE)
    assert again.factorization == flow.factorization
    np.testing.assert_array_equal(again.log_prob(images), flow.log_prob(images))


def test_contributions_of_whitened_images_differ_by_a_constant_of_the_channel():
    config, whitening = tiny_config(image_shape=SHAPE, num_scales=1), random_whitening(3)
    decided = Factorization("none", SHAPE, whitening=whitening)
    # Fresh checkerboard couplings scale nothing.
    terms = [lcma_tf.FlowModel(config, f).layer_terms(IMAGES, 0.5)[0] for f in (decided, None)]
    expected = np.broadcast_to(whitening.log_scale, IMAGES.shape)
    np.testing.assert_allclose(terms[0] - terms[1], expected, atol=1e-5)
