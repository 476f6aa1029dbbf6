"""What a flow may have beside the paper's: each option stays exact, is saved, frozen and counted.

Small flows of few dimensions, so that each is compared with its whole Jacobian.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import lcma_tf
from lcma_tf.factorization import masks
from lcma_tf.factorization.order import exited_order, kept_order
from lcma_tf.training.contributions import average_contributions
from lcma_tf.training.probe import measured_log_det
from testing import (
    TOLERANCE,
    assert_close,
    assert_same_in_any_batch,
    count_ops,
    jacobian,
    log_abs_det,
    num_convolutions,
    random_images,
    tiny_flow,
)

tfd = tfp.distributions
SHAPE = (4, 4, 2)
IMAGES = random_images(5, SHAPE)
# The rule that decides the masks, and what is asked for.
OPTIONS = {
    "swapped, nothing exits": ("none", {"coupling_masks": "swapped"}),
    "aligned, masks without structure, levels of their own size": (
        "random",
        {"coupling_masks": "aligned", "level_widths": (3, 2), "level_blocks": (1, 2)},
    ),
    "splines, masks without structure": (
        "random",
        {"coupling": "spline", "coupling_masks": "aligned", "num_couplings": 2},
    ),
    "exits by a residual network": (
        "random",
        {"exit_prior": "residual", "level_widths": (3, 2), "level_blocks": (1, 2)},
    ),
    "noise that a network draws": ("random", {"dequantization": "variational"}),
    "conditional exits": ("lcma", {"coupling_masks": "swapped", "exit_prior": "conditional"}),
}


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=OPTIONS)
def flow(request):
    rule, options = request.param
    return tiny_flow(rule, "float64", **{"num_couplings": 3, **options})


def pixels(n):
    return tf.constant(np.random.default_rng(0).uniform(0.5, 255.5, (n, *SHAPE)))


def test_log_dets_and_round_trips(flow):
    whole, y = flow.distribution.bijector, pixels(2)
    x = whole.inverse(y)
    assert_close(whole.forward(tf.identity(x)), y, TOLERANCE["float64"])
    actual = whole.inverse_log_det_jacobian(tf.identity(y), event_ndims=3)
    assert_close(actual[0], log_abs_det(jacobian(whole.inverse, y[0])), 1e-10)
    assert_close(measured_log_det(whole, y), actual, 1e-10)
    actual = whole.forward_log_det_jacobian(tf.identity(x), event_ndims=3)
    assert_close(actual[0], log_abs_det(jacobian(whole.forward, x[0])), 1e-10)


def test_every_dimension_is_changed_in_each_layer_until_it_exits(flow):
    exits = flow.factorization.exit_scale()
    for layer, terms in enumerate(flow.layer_terms(IMAGES, 0.5), start=1):
        gone = (exits < layer) & (flow.factorization.rule != "none")
        np.testing.assert_array_equal(np.abs(terms).max(axis=0) == 0, gone)


def test_each_network_runs_once(flow):
    once = num_convolutions(flow.config)
    (exits,) = [net for net in flow.networks if net.name == "layer_1_exit"] or [None]
    if isinstance(exits, lcma_tf.networks.ResidualConditioner):
        once += 3 * exits.num_residual_blocks + 3
    elif exits is not None:
        once += 1
    noise = 3 * sum(net.name.startswith("dequantization") for net in flow.networks)
    assert count_ops(flow.passes.log_prob.get_concrete_function()) == once + noise
    assert count_ops(flow.passes.decode.get_concrete_function()) == once


def test_frozen_and_saved_it_says_the_same(flow, tmp_path):
    expected = flow.log_prob(IMAGES, 3)
    assert_close(flow.frozen().log_prob(IMAGES, 3), expected, 1e-12)
    flow.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.config == flow.config
    np.testing.assert_array_equal(
        loaded.log_prob_parts(IMAGES, 0.5), flow.log_prob_parts(IMAGES, 0.5)
    )


def test_images_come_back_and_batches_do_not_matter(flow):
    np.testing.assert_array_equal(flow.decode(flow.encode(IMAGES)), IMAGES)
    alone = [float(flow.log_prob(image[None])[0]) for image in IMAGES]
    assert_same_in_any_batch(np.array(alone), flow.log_prob(IMAGES))


def checkerboards(model):
    """The masks of the first level's couplings over pixels, by what they keep."""
    level = model.flow._layer._bijectors
    return [part.mask for part in level if isinstance(part, lcma_tf.bijectors.AffineCoupling)]


def test_swapped_checkerboards_keep_what_the_others_change():
    plain, swapped = (
        checkerboards(tiny_flow(random_weights=None, num_couplings=3, coupling_masks=kind))
        for kind in ("checkerboard", "swapped")
    )
    np.testing.assert_array_equal(plain[0], masks.checkerboard(SHAPE))
    assert len(plain) == len(swapped) == 3
    for ours, theirs in zip(swapped, plain, strict=True):
        np.testing.assert_array_equal(ours, ~theirs)


@pytest.mark.parametrize("rule", ["lcma", "random"])
def test_aligned_couplings_change_what_exits_then_what_stays_then_what_exits(rule):
    model = tiny_flow(rule, random_weights=None, num_couplings=3, coupling_masks="aligned")
    (kept,) = model.factorization.masks
    for mask, expected in zip(checkerboards(model), (kept, ~kept, kept), strict=True):
        np.testing.assert_array_equal(mask, expected)
    # Its masks differ from channel to channel, and the networks are told all of them.
    first = model.networks[0]
    np.testing.assert_array_equal(first.pixel_mask, kept)
    last = next(net for net in model.networks if net.name == "layer_2_checkerboard_0")
    np.testing.assert_array_equal(last.pixel_mask, masks.checkerboard((2, 2, 4))[..., :1])


def test_aligned_with_the_static_rule_is_the_paper_s_flow():
    plain, aligned = (
        tiny_flow("realnvp", random_weights=None, num_couplings=3, coupling_masks=kind)
        for kind in ("checkerboard", "aligned")
    )
    np.testing.assert_array_equal(checkerboards(aligned), checkerboards(plain))
    assert [v.shape for v in aligned.variables] == [v.shape for v in plain.variables]


def test_aligned_masks_may_select_channels():
    custom = lcma_tf.Factorization("custom", SHAPE, [masks.channel_half(SHAPE)])
    config = lcma_tf.FlowConfig(SHAPE, "realnvp", 2, 2, 1, coupling_masks="aligned")
    model = lcma_tf.FlowModel(config, custom)
    assert model.networks[0].pixel_mask is None and model.networks[0].in_channels == 1
    x = tf.constant(np.random.default_rng(0).normal(size=(2, *SHAPE)), tf.float32)
    assert_close(model.flow.forward(tf.identity(model.flow.inverse(x))), x, TOLERANCE["float32"])


def test_contributions_of_a_pretraining_with_swapped_masks():
    model = tiny_flow("none", coupling_masks="swapped")
    first, last = average_contributions(model, IMAGES, batch_size=4)
    assert first.shape == last.shape == SHAPE and np.all(np.isfinite(last) & (first != last))


def test_conditional_exits_are_networks_at_the_end():
    plain, conditional = (
        tiny_flow(random_weights=None, num_scales=3, image_shape=(8, 8, 1), exit_prior=kind)
        for kind in ("standard", "conditional")
    )
    names = [net.name for net in conditional.networks]
    assert names == [*(net.name for net in plain.networks), "layer_1_exit", "layer_2_exit"]
    added = sum(9 * c * 2 * c + 2 * c for c in (2, 4))
    assert conditional.num_parameters == plain.num_parameters + added
    # New ones leave the exits as they are.
    images = random_images(2, (8, 8, 1))
    parts = (model.log_prob_parts(images, 0.5) for model in (plain, conditional))
    np.testing.assert_array_equal(*parts)


def test_nothing_exits_and_no_network_says_how():
    assert "layer_1_exit" not in [
        net.name for net in tiny_flow("none", None, None, exit_prior="conditional").networks
    ]


def test_exits_are_normal_with_the_mean_and_deviation_that_what_stays_says():
    """What enters the split is coded by N(mean(K), sd(K)), each at its own place."""
    model = tiny_flow("lcma", "float64", exit_prior="conditional")
    (mask,) = model.factorization.masks
    network = model.networks[-1]
    chain = model.flow._layer._bijectors
    before = lcma_tf.bijectors.ImageChain(chain[:-1], SHAPE)
    y = tf.constant(np.random.default_rng(0).normal(size=(3, *SHAPE)))
    values, terms = before.inverse_and_terms(y)
    kept = gather(values, kept_order(mask))
    shift, log_scale = network(kept)
    expected = tfd.Normal(-shift, tf.exp(-log_scale)).log_prob(gather(values, exited_order(mask)))
    found, layers = model.flow.inverse_and_layer_terms(y)
    normal = tfd.Normal(tf.zeros([], y.dtype), 1.0).log_prob(found) + layers[0] - terms
    assert_close(gather(normal, exited_order(mask)), expected, 1e-10)
    np.testing.assert_array_equal((layers[0] - terms).numpy()[:, mask], 0)


def gather(values, order):
    return tf.reshape(tf.gather(tf.reshape(values, [-1, 32]), order, axis=1), [-1, 2, 2, 4])
