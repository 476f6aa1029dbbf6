"""The cost of a split against a Gaussian worked out by hand, and the masks that cost least."""

import itertools

import numpy as np
import pytest

from lcma_tf import FactorizationError, decide_factorization
from lcma_tf.factorization.dependence import block_covariance, dependence_cost
from lcma_tf.factorization.masks import checkerboard


def decide(images, num_scales=2):
    return decide_factorization(
        "dependence", image_shape=images.shape[1:], num_scales=num_scales, logits=images
    )


def smooth_images(channels=1, seed=0, n=200):
    """Neighbours are alike: a sum over 3x3 pixels of independent noise."""
    noise = np.random.default_rng(seed).normal(size=(n, 10, 10, channels))
    return sum(noise[:, i : i + 8, j : j + 8] for i, j in itertools.product(range(3), repeat=2))


def test_the_cost_is_the_total_correlation_of_what_exits_given_what_stays():
    # One block, one channel; corners 1 and 2 exit, correlated by 0.8 given the others.
    covariance = np.eye(4)
    covariance[1, 2] = covariance[2, 1] = 0.8
    one_block = covariance.reshape(1, 4, 1, 4)
    kept = np.array([True, False, False, True])
    assert dependence_cost(one_block, kept) == pytest.approx(-0.5 * np.log(1 - 0.64), abs=1e-6)
    assert dependence_cost(one_block, ~kept) == pytest.approx(0, abs=1e-6)
    # Exits that are alike only through what stays cost nothing.
    factor = np.array([[1.0, 0, 0, 0], [0.9, 1, 0, 0], [0.9, 0, 1, 0], [0, 0, 0, 1]])
    through = (factor @ factor.T).reshape(1, 4, 1, 4)
    assert dependence_cost(through, kept) == pytest.approx(0, abs=1e-6)
    assert dependence_cost(through, np.array([False, True, False, True])) > 0.01


def test_the_covariance_of_blocks_is_that_of_the_pixels_at_their_places():
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 2)) @ [[1, 0.5], [0, 1]]
    found = block_covariance(images)
    assert found.shape == (9, 8, 9, 8)
    # Block (0, 0) of the nine, channel 1, corner (1, 0), with block (1, 2), channel 0, corner (0, 1).
    a, b = images[:, 1:5:2, 0:4:2, 1], images[:, 2:6:2, 5:9:2, 0]
    expected = np.mean((a - a.mean()) * (b - b.mean()))
    assert found[0, 4 + 2, 5, 1] == pytest.approx(expected, rel=1e-9)
    assert block_covariance(images[:, :4, :4]).shape == (1, 8, 1, 8)


def test_it_finds_the_cheapest_of_all_patterns():
    images = smooth_images(2)
    images[..., 1] += 0.7 * images[..., 0]
    (mask,) = decide(images).masks
    covariance = block_covariance(images)
    corners = [np.isin(np.arange(4), pair) for pair in itertools.combinations(range(4), 2)]
    costs = [
        dependence_cost(covariance, np.concatenate(pair))
        for pair in itertools.product(corners, repeat=2)
    ]
    chosen = np.concatenate([mask[:2, :2, c].ravel() for c in range(2)])
    assert dependence_cost(covariance, chosen) == min(costs)


def test_grey_smooth_images_keep_a_diagonal():
    # Rows and columns leave neighbours together.
    (mask,) = decide(smooth_images()).masks
    even = checkerboard((8, 8, 1))
    assert np.array_equal(mask, even) or np.array_equal(mask, ~even)


def test_channels_that_are_alike_exit_at_different_places():
    grey = smooth_images()
    images = np.concatenate([grey, grey], -1) + 0.1 * smooth_images(2, seed=1)
    (mask,) = decide(images).masks
    np.testing.assert_array_equal(mask[..., 0], ~mask[..., 1])


def test_many_channels_are_never_worse_than_the_static_rule():
    factorization = decide(smooth_images(2, n=60), num_scales=3)
    assert [mask.shape for mask in factorization.masks] == [(8, 8, 2), (4, 4, 4)]
    deep = smooth_images(4)
    (mask,) = decide(deep).masks
    covariance = block_covariance(deep)
    chosen = np.concatenate([mask[:2, :2, c].ravel() for c in range(4)])
    static = np.tile([True, False, False, True], 4)
    assert dependence_cost(covariance, chosen) <= dependence_cost(covariance, static)


def test_constant_images_have_a_split_like_any():
    constant = np.zeros((5, 4, 4, 3))
    found = decide_factorization("dependence", image_shape=(4, 4, 3), num_scales=2, logits=constant)
    assert found.masks[0].mean() == 0.5


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((5, 4, 4)), r"`logits` must be float of shape \('n', 4, 4, 1\)"),
        (np.zeros((0, 4, 4, 1)), "n at least 1"),
        (np.zeros((5, 4, 4, 1), int), "must be float .* got int64"),
        (np.full((5, 4, 4, 1), np.inf), "must be finite; got 80"),
    ],
)
def test_bad_logits_are_refused(logits, message):
    with pytest.raises(FactorizationError, match=message):
        decide_factorization("dependence", image_shape=(4, 4, 1), num_scales=2, logits=logits)
