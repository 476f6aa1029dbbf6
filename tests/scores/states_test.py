"""The distribution of all measures together: the density that scikit-learn fitted, in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.mixture import GaussianMixture

from lcma_tf.scores.states import States


def measured(count, seed=0):
    """Of the size and the likeness that measures have: thousands of nats, some nearly the same."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=count)
    return {
        "log_prob": rng.normal(size=count),
        "latent_1": -4_000 + 300 * common + 5 * rng.normal(size=count),
        "layer_1": 2_000 + 200 * common + 3 * rng.normal(size=count),
        "codec": np.where(rng.random(count) < 0.3, 2.0, 5.0) + 0.1 * rng.normal(size=count),
    }


def as_tensors(measures):
    return {name: tf.constant(column, tf.float32) for name, column in measures.items()}


@pytest.mark.parametrize(("count", "parts"), [(100, 1), (600, 2), (2_000, 4)])
def test_the_log_density_is_that_of_scikit_learn(count, parts):
    known, new = measured(count), measured(50, seed=1)
    states = States.of(known)
    assert states.names == ("latent_1", "layer_1", "codec")  # Not the sum of others.
    assert len(states.log_weights) == parts
    points, others = (np.stack([m[name] for name in states.names], 1) for m in (known, new))
    mean, spread = points.mean(0), points.std(0)
    mixture = GaussianMixture(parts, reg_covar=1e-4, max_iter=500, random_state=0)
    mixture.fit((points - mean) / spread)
    others = others.astype(np.float32).astype(np.float64)
    expected = mixture.score_samples((others - mean) / spread) - np.log(spread).sum()
    np.testing.assert_allclose(states.log_density(as_tensors(new)), expected, rtol=1e-5, atol=1e-5)
    in_a_graph = tf.function(states.log_density)
    np.testing.assert_allclose(in_a_graph(as_tensors(new)), expected, rtol=1e-5, atol=1e-5)


def test_it_is_a_density():
    states = States.of({"log_prob": np.zeros(600), "codec": measured(600)["codec"]})
    grid = np.linspace(0, 8, 8_001)
    density = np.exp(states.log_density(as_tensors({"codec": grid})))
    assert np.sum(density) * 0.001 == pytest.approx(1, abs=1e-4)
    assert density[2_000] > 10 * density[3_500] < density[5_000]  # Its two heaps.


def test_a_measure_that_never_changes_tells_who_changes_it():
    """Of images of one size by a codec that cannot compress them, say."""
    known = {**measured(200), "codec": np.full(200, 8.25)}
    states = States.of(known)
    ordinary = states.log_density(as_tensors(known)).numpy()
    assert np.isfinite(ordinary).all()
    other = states.log_density(as_tensors({**known, "codec": np.full(200, 8.0)})).numpy()
    assert np.isfinite(other).all() and other.max() < ordinary.min()


def test_measures_that_are_the_sum_of_one_another_have_a_density():
    known = measured(200)
    known["codec"] = known["latent_1"] + known["layer_1"]
    assert np.isfinite(States.of(known).log_density(as_tensors(measured(20, seed=1)))).all()


def test_it_comes_back_as_it_was_kept():
    states = States.of(measured(600))
    again = States.from_arrays(states.to_arrays())
    assert again.names == states.names
    np.testing.assert_array_equal(
        again.log_density(as_tensors(measured(9))), states.log_density(as_tensors(measured(9)))
    )


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("names", lambda array: array[:-1]),
        ("log_weights", lambda array: array[:-1]),
        ("means", lambda array: array * np.nan),
        ("whitenings", lambda array: array[:, 0]),
    ],
)
def test_what_is_no_distribution_is_not_read(name, change):
    arrays = States.of(measured(600)).to_arrays()
    arrays[f"states.{name}"] = change(arrays[f"states.{name}"])
    with pytest.raises(ValueError, match="its distribution of states is none"):
        States.from_arrays(arrays)
