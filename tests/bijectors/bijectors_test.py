"""Every bijector inverts, states its log-det and its terms, in any batch shape, eager or not."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from bijector_cases import CASES, SHAPE, data, latents
from lcma_tf import bijectors
from testing import TOLERANCE, assert_close, jacobian, log_abs_det

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def check_round_trips(bijector, x, y, tolerance):
    # A new tensor: TFP would answer inverse(forward(x)) from memory, whatever the inverse does.
    assert_close(bijector.inverse(tf.identity(bijector.forward(x))), x, tolerance, "x")
    assert_close(bijector.forward(tf.identity(bijector.inverse(y))), y, tolerance, "y")


def check_log_dets(bijector, x, y):
    """Both log-dets, of one event each, against the whole Jacobian in float64."""
    forward = log_abs_det(jacobian(bijector.forward, x))
    inverse = log_abs_det(jacobian(bijector.inverse, y))
    actual = bijector.forward_log_det_jacobian(tf.identity(x), event_ndims=3)
    assert_close(actual, forward, TOLERANCE["float64"], "forward")
    actual = bijector.inverse_log_det_jacobian(tf.identity(y), event_ndims=3)
    assert_close(actual, inverse, TOLERANCE["float64"], "inverse")


@every_case
@every_dtype
def test_round_trips(case, dtype):
    x, y = latents(case, [3], dtype), data(case, [3], dtype)
    check_round_trips(case.make(dtype), x, y, TOLERANCE[dtype])


@every_case
def test_log_dets_are_those_of_the_jacobian(case):
    x, y = latents(case, [], "float64"), data(case, [], "float64")
    check_log_dets(case.make("float64"), x, y)


@every_case
def test_terms_have_the_shape_of_the_value_and_sum_to_the_log_det(case):
    bijector = case.make("float64")
    x, y = latents(case, [2], "float64"), data(case, [2], "float64")
    forward, inverse = bijector.forward_and_terms(x), bijector.inverse_and_terms(y)
    assert_close(forward[0], bijector.forward(x), 1e-12)
    assert_close(inverse[0], bijector.inverse(y), 1e-12)
    log_dets = (
        bijector.forward_log_det_jacobian(x, event_ndims=3),
        bijector.inverse_log_det_jacobian(y, event_ndims=3),
    )
    for (value, terms), log_det in zip((forward, inverse), log_dets, strict=True):
        assert terms.shape == value.shape
        sums = np.sum(terms, axis=(1, 2, 3))
        assert_close(np.broadcast_to(log_det, sums.shape), sums, 1e-12)


@every_case
def test_graph_gives_what_eager_gives(case):
    bijector = case.make("float64")
    x, y = latents(case, [2], "float64"), data(case, [2], "float64")
    pairs = [(bijector.forward_and_terms, x), (bijector.inverse_and_terms, y)]
    for function, value in pairs:
        in_graph = tf.function(function, autograph=False)
        for actual, expected in zip(in_graph(value), function(value), strict=True):
            assert_close(actual, expected, 1e-12)


@every_case
@pytest.mark.parametrize("batch_shape", [(), (2, 3)], ids=["none", "two"])
def test_any_batch_shape(case, batch_shape):
    bijector = case.make("float64")
    y = data(case, batch_shape, "float64")
    flat = bijector.inverse(tf.reshape(y, [-1, *case.data_shape]))
    x = bijector.inverse(y)
    assert x.shape == (*batch_shape, *case.latent_shape)
    assert_close(x, tf.reshape(flat, x.shape), 1e-12)
    assert bijector.forward(tf.identity(x)).shape == y.shape
    log_det = bijector.inverse_log_det_jacobian(y, event_ndims=3)
    assert log_det.shape in (batch_shape, ())  # A constant one has no batch shape, as TFP wants.


@every_case
def test_static_shapes(case):
    bijector = case.make("float32")
    assert tuple(bijector.forward_event_shape(case.latent_shape)) == case.data_shape
    assert tuple(bijector.inverse_event_shape(case.data_shape)) == case.latent_shape


@every_case
def test_another_event_shape_is_refused(case):
    bijector = case.make("float32")
    for value in (tf.zeros([2, 6, 6, 3]), tf.zeros([4, 4])):
        with pytest.raises(ValueError):
            bijector.inverse(value)
        with pytest.raises(ValueError):
            bijector.forward(value)


@every_case
def test_a_misspelt_option_is_refused(case):
    bijector = case.make("float32")
    x, y = latents(case, [2], "float32"), data(case, [2], "float32")
    calls = {
        bijector.forward: x,
        bijector.inverse: y,
        bijector.forward_and_terms: x,
        bijector.inverse_and_terms: y,
        functools.partial(bijector.inverse_log_det_jacobian, event_ndims=3): y,
    }
    for call, value in calls.items():
        with pytest.raises(TypeError, match="of training, momentum, weight; got trainig"):
            call(value, trainig=True)


class WrongInverse(bijectors.ImageBijector):
    def _forward_and_terms(self, x, **kwargs):
        return 2 * x, tf.fill(tf.shape(x), tf.math.log(tf.constant(2.0, x.dtype)))

    def _inverse_and_terms(self, y, **kwargs):
        return y / 3, tf.fill(tf.shape(y), -tf.math.log(tf.constant(3.0, y.dtype)))


class WrongLogDet(bijectors.ImageBijector):
    def _forward_and_terms(self, x, **kwargs):
        return 2 * x, tf.zeros_like(x)

    def _inverse_and_terms(self, y, **kwargs):
        return y / 2, tf.zeros_like(y)


def test_a_wrong_bijector_is_caught():
    case = CASES["chain"]
    x, y = latents(case, [], "float64"), data(case, [], "float64")
    with pytest.raises(AssertionError, match="x"):
        check_round_trips(WrongInverse(SHAPE), x, y, TOLERANCE["float32"])
    with pytest.raises(AssertionError, match="forward"):
        check_log_dets(WrongLogDet(SHAPE), x, y)
    check_round_trips(WrongLogDet(SHAPE), x, y, TOLERANCE["float64"])  # Each wrong in one way only.
