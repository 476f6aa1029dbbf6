"""The probe is 0 but for rounding where a flow is exact, and says how far off it is where it is not."""

import csv
import math

import numpy as np
import pytest
import tensorflow as tf

from bijector_cases import CASES, SHAPE, channels, conditioner, coupling, data, norm
from lcma_tf import bijectors
from lcma_tf.factorization import masks
from lcma_tf.networks import LUMatrix
from lcma_tf.training.history import STEP
from lcma_tf.training.phase_files import PhaseFiles
from lcma_tf.training.probe import COLUMNS, ProbeEachEpoch, measured_log_det, probe
from testing import assert_close, jacobian, log_abs_det, random_images, random_whitening, tiny_flow

EVEN = masks.checkerboard(SHAPE)
BITS = 1 / (np.prod(SHAPE) * math.log(2))  # Of an image of this shape, for each nat.


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_measured_is_the_log_det_of_the_jacobian(case):
    bijector, y = case.make("float64"), data(case, [2], "float64")
    expected = [log_abs_det(jacobian(bijector.inverse, one)) for one in y]
    assert_close(measured_log_det(bijector, y), expected, 1e-10)


def test_of_a_whitening_a_wrong_term_and_a_leak_are_seen():
    whitening = random_whitening(2)
    y = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 7, 2)))
    whitening, y = (
        random_whitening(2),
        tf.constant(np.random.default_rng(0).normal(size=(2, 5, 7, 2))),
    )

    class Wrong(bijectors.CausalWhitening):
        def _terms(self, images, sign):
            return 2 * super()._terms(images, sign)

    class Leaks(bijectors.CausalWhitening):
        def _inverse_and_terms(self, y, **options):
            x, terms = super()._inverse_and_terms(y)
            return x + 0.1 * tf.roll(y, -1, axis=2), terms

    expected = 35 * whitening.log_scale.sum()
    for kind in (bijectors.CausalWhitening, Wrong):
        found = measured_log_det(kind(whitening, (5, 7, 2)), y)
        np.testing.assert_allclose(found, [expected, expected], rtol=1e-12)
    assert np.isnan(measured_log_det(Leaks(whitening, (5, 7, 2)), y)).all()


def wrong(kind, inverse=None, forward=None):
    """A bijector of this kind with something done to (value, terms) of one direction, or of both."""

    class Wrong(kind):
        def _inverse_and_terms(self, y, **kwargs):
            pair = super()._inverse_and_terms(y, **kwargs)
            return pair if inverse is None else inverse(*pair)

        def _forward_and_terms(self, x, **kwargs):
            pair = super()._forward_and_terms(x, **kwargs)
            return pair if forward is None else forward(*pair)

    return Wrong


def without(position):
    keep = np.ones(SHAPE)
    keep[position] = 0
    return lambda value, terms: (value, terms * tf.constant(keep, terms.dtype))


def moved_matrix():
    weights = LUMatrix(SHAPE[-1])
    weights.factors.assign_add(0.3 * tf.ones_like(weights.factors))
    return weights


def negated(value, terms):
    return value, -terms


def doubled(value, terms):
    return value, 2 * terms


def moved(value, terms):
    return value + 0.01, terms


def a_coupling(kind):
    return kind(EVEN, conditioner(2, 2))


def a_norm(kind):
    made = kind(EVEN)
    made.moving_variance.assign([0.5, 3.0])
    return made


class Leaking(bijectors.AffineCoupling):
    """Its conditioner reads what it changes as well."""

    def _shift_and_log_scale(self, images, **kwargs):
        shift, log_scale = self._conditioner(images, **kwargs)
        changed = tf.constant(~self.mask, images.dtype)
        return shift * changed, log_scale * changed


COUPLING, NORM = bijectors.AffineCoupling, bijectors.InFlowBatchNorm
# What is wrong with it, and what must show: the first column, the second, or both.
FAULTS = {
    "coupling: a term missing": (a_coupling(wrong(COUPLING, without((0, 1, 0)))), False, True),
    "coupling: no terms": (a_coupling(wrong(COUPLING, lambda v, t: (v, 0 * t))), False, True),
    "coupling: wrong sign": (a_coupling(wrong(COUPLING, negated, negated)), False, True),
    "coupling: counted twice": (a_coupling(wrong(COUPLING, doubled, doubled)), False, True),
    "coupling: forward's terms": (a_coupling(wrong(COUPLING, None, negated)), False, True),
    "coupling: wrong forward": (a_coupling(wrong(COUPLING, None, moved)), True, True),
    "coupling: scaled only": (a_coupling(wrong(COUPLING, lambda v, t: (2 * v, t))), True, True),
    "coupling: leaking conditioner": (Leaking(EVEN, conditioner(2, 2)), True, True),
    "norm: no terms": (a_norm(wrong(NORM, lambda v, t: (v, 0 * t))), False, True),
    "norm: wrong sign": (a_norm(wrong(NORM, negated, negated)), False, True),
    "chain: terms of one part lost": (
        wrong(bijectors.ImageChain, lambda v, t: (v, t - math.log(1.5)))(
            [coupling(EVEN), norm(EVEN, "all", "float32")], SHAPE
        ),
        False,
        True,
    ),
    "1x1 convolution: terms lost": (
        wrong(bijectors.InvertibleConv, lambda v, t: (v, 0 * t))(moved_matrix(), SHAPE),
        False,
        True,
    ),
    "split: terms lost": (
        wrong(bijectors.LikelihoodContributionSplit, lambda v, t: (v, 0 * t))(
            EVEN, coupling(channels(0, 2, shape=(2, 2, 4)), by_channel=True)
        ),
        False,
        True,
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_what_is_wrong_shows(fault):
    bijector, in_round_trip, in_log_det = fault
    found = probe(Density(coupling(~EVEN), bijector), random_images(3, SHAPE))
    # A NaN shows as well.
    assert (not found.round_trip < 1e-3) == in_round_trip, found
    assert (not found.log_det < 1e-4) == in_log_det, found


class Density:
    """What the probe reads of one, around any bijectors."""

    density_dtype = "float32"

    class config:
        num_dimensions = int(np.prod(SHAPE))

    class distribution:
        pass

    def __init__(self, *flow):
        pixels = bijectors.PixelLogit(0.05, "two_sided", SHAPE)
        self.distribution = type("Distribution", (), {})()
        self.distribution.bijector = bijectors.ImageChain([pixels, *flow], SHAPE)


def test_it_says_by_how_much():
    density = Density(wrong(bijectors.ForeignBijector, None, lambda v, t: (v, t + 0.25))(scale()))
    found = probe(density, random_images(3, SHAPE))
    assert_close(found.log_det, 0.25 * np.prod(SHAPE) * BITS, 1e-4)
    density = Density(wrong(bijectors.ForeignBijector, None, lambda v, t: (v + 1e-2, t))(scale()))
    images = np.full((1, *SHAPE), 127, np.uint8)  # Of slope 256 / 0.9 / 4 there, in the middle.
    assert_close(probe(density, images).round_trip, 1e-2 * 256 / 3.6, 1e-2)


def scale():
    return bijectors.base.tfb.Scale(tf.constant(2.0))


KINDS = {
    "as it is by default": {},
    "one-sided, all moments": {"pixel_transform": "one_sided", "batch_norm_moments": "all"},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_a_flow_is_exact_frozen_or_not_and_on_extreme_images(options):
    model = tiny_flow(**options)
    images = np.concatenate([random_images(2, SHAPE), np.zeros((1, *SHAPE), np.uint8)])
    images = np.concatenate([images, 255 - images])
    for flow in (model, model.frozen()):
        found = probe(flow, images)
        assert found.round_trip < 0.01 and found.log_det < 1e-5, found


def test_each_probe_is_of_the_weights_of_then():
    model = tiny_flow()
    callback = ProbeEachEpoch(random_images(2, SHAPE))
    callback.set_model(model)
    for value, is_exact in ((1.0, True), (math.nan, False)):
        model.networks[0].scale.assign(value)
        logs = {"loss": 1.0}
        callback.on_epoch_end(0, logs)
        assert set(logs) == {"loss", *COLUMNS}
        assert all(math.isfinite(logs[name]) == is_exact for name in COLUMNS)


def test_a_history_of_before_goes_on_with_the_new_columns(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,bits_per_dim,val_bits_per_dim\n0,5.0,5.5\n1,4.0,4.5\n2,3.0,3.5\n")
    best = tmp_path / "best.weights.h5"
    tiny_flow().save_weights(best)
    files = PhaseFiles(tmp_path, tmp_path / "model.keras")
    assert (files.history, files.best) == (path, best)
    assert files.forget_epochs_from(2) == 4.5
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", *sorted(["bits_per_dim", "val_bits_per_dim", STEP, *COLUMNS])]
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(row[name] == "nan" for row in rows for name in COLUMNS)
    assert [row["val_bits_per_dim"] for row in rows] == ["5.5", "4.5"]
