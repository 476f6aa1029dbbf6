"""What is measured of an image: by the flow in one pass, by the codec from the picture alone."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.data import without_padding
from lcma_tf.scores.measures import Measures
from testing import count_ops, random_images, tiny_flow, tiny_glow

SEED = 3
# 2 channels are grey with opacity; of 5 there is no PNG file.
FLOWS = {
    "realnvp": lambda: tiny_flow(image_shape=(8, 8, 3)),
    "realnvp_none_padded_grey": lambda: tiny_flow(
        "none", image_shape=(8, 8, 1), original_shape=(5, 6, 1)
    ),
    "glow_two_channels": lambda: tiny_glow(image_shape=(4, 4, 2)),
    "glow_none_five_channels": lambda: tiny_glow("none", image_shape=(4, 4, 5)),
}


@dataclasses.dataclass(frozen=True)
class Measured:
    """A flow, some images, and what was found of them in graphs, with the map and without it."""

    model: object
    flow: object
    images: np.ndarray
    measures: Measures
    found: dict
    with_map: dict
    nats: np.ndarray
    graphs: tuple


@pytest.fixture(scope="module", params=FLOWS)
def measured(request):
    model = FLOWS[request.param]()
    shape = model.config.image_shape
    images = random_images(6, shape)
    images[-1] = 17  # A file of few bytes.
    flow = model.frozen()
    measures = Measures(flow, model.factorization, SEED)
    batch = tf.TensorSpec([None, *shape], tf.uint8)
    graphs = tuple(
        tf.function(function, autograph=False).get_concrete_function(batch)
        for function in (measures.of, measures.with_map)
    )
    (with_map, nats), found = graphs[1](tf.constant(images)), graphs[0](tf.constant(images))
    return Measured(model, flow, images, measures, found, with_map, nats.numpy(), graphs)


def sums(found, kind):
    return np.sum([column for name, column in found.items() if name.startswith(kind)], axis=0)


def test_their_names_are_in_order(measured):
    config, exits = measured.model.config, measured.model.factorization.rule != "none"
    scales = config.num_scales if exits else 1
    expected = ["log_prob", *(f"latent_{scale}" for scale in range(1, scales + 1))]
    expected += [f"layer_{layer}" for layer in range(1, config.num_scales + 1)]
    expected += ["codec", "codec_half"] * (config.image_shape[-1] < 5)
    assert measured.measures.names == expected == list(measured.found)
    for column in measured.found.values():
        assert column.shape == (6,) and column.dtype == tf.float32


def test_log_prob_is_that_of_the_flow(measured):
    # That a frozen flow says what its model says is held by tests/model/frozen_test.py.
    expected = measured.flow.log_prob(measured.images, SEED)
    np.testing.assert_allclose(measured.found["log_prob"], expected, rtol=1e-6)


def test_the_parts_add_up_to_it(measured):
    noise = measured.flow.scoring_noise(SEED)[0]
    parts = measured.flow.log_prob_parts(measured.images, noise).numpy()
    found, size = measured.found, np.abs(parts).sum(axis=1).max()
    total = sums(found, "latent_") + sums(found, "layer_") + parts[:, -1]
    np.testing.assert_allclose(total, found["log_prob"], rtol=0, atol=1e-6 * size)
    layers = [column for name, column in found.items() if name.startswith("layer_")]
    np.testing.assert_allclose(np.stack(layers, 1), parts[:, 1:-1], rtol=0, atol=1e-6 * size)


def test_latents_are_those_that_leave_after_each_scale(measured):
    noise = measured.flow.scoring_noise(SEED)[0]
    latents = measured.flow.latents_and_log_prob(measured.images, noise)[0].numpy()
    density = -0.5 * (np.float64(latents) ** 2 + np.log(2 * np.pi))
    exit_scale = measured.model.factorization.exit_scale()
    for scale in np.unique(exit_scale):
        expected = density[:, exit_scale == scale].sum(axis=1)
        np.testing.assert_allclose(measured.found[f"latent_{scale}"], expected, rtol=1e-5)


def test_the_map_adds_up_to_it_pixel_by_pixel(measured):
    assert measured.nats.shape == measured.images.shape[:3] and measured.nats.dtype == np.float32
    size = np.abs(measured.nats).sum(axis=(1, 2)).max()
    log_prob = measured.found["log_prob"]
    np.testing.assert_allclose(measured.nats.sum((1, 2)), log_prob, rtol=0, atol=1e-6 * size)
    for name, column in measured.with_map.items():
        np.testing.assert_allclose(column, measured.found[name], rtol=1e-6, atol=1e-6 * size)


def test_the_codec_is_a_png_file_of_the_picture(measured):
    config = measured.model.config
    if config.image_shape[-1] == 5:
        return
    height, width, channels = config.original_shape or config.image_shape
    pictures = without_padding(measured.images, (height, width, channels))
    assert pictures.shape[1:] == (height, width, channels)
    for row, picture in enumerate(pictures):
        size = len(tf.io.encode_png(picture).numpy())
        bits = measured.found["codec"][row].numpy() * picture.size
        assert bits == pytest.approx(8 * size, rel=1e-6)
    odd = np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    blocks = odd.reshape(6, odd.shape[1] // 2, 2, odd.shape[2] // 2, 2, channels)
    halved = np.round(blocks.astype(np.float32).mean(axis=(2, 4))).astype(np.uint8)
    for row, picture in enumerate(halved):
        size = len(tf.io.encode_png(picture).numpy())
        bits = measured.found["codec_half"][row].numpy() * picture.size
        assert bits == pytest.approx(8 * size, rel=1e-6)


def test_every_conditioner_runs_once(measured):
    one_pass = count_ops(measured.flow.passes.log_prob.get_concrete_function())
    assert one_pass > 0
    for graph in measured.graphs:
        assert count_ops(graph) == one_pass


def test_a_row_knows_nothing_of_the_others(measured):
    together, images = measured.found, tf.constant(measured.images)
    # Of large terms of either sign small ones may be left.
    size = np.abs(together["log_prob"]).max()
    for rows in (slice(0, 1), slice(5, 6), slice(1, 5)):
        for name, column in measured.graphs[0](images[rows]).items():
            expected = together[name][rows]
            np.testing.assert_allclose(column, expected, rtol=1e-6, atol=1e-6 * size, err_msg=name)


def test_one_row_at_a_time_they_are_the_same_to_the_bit():
    model = tiny_flow()
    measures = Measures(model.frozen(batch_invariant=True), model.factorization, SEED)
    asked = tf.function(
        measures.with_map,
        autograph=False,
        input_signature=[tf.TensorSpec([None, 4, 4, 2], tf.uint8)],
    )
    images = random_images(5, (4, 4, 2))
    found, nats = asked(images)
    for rows in (slice(0, 2), slice(2, 5)):
        some, some_nats = asked(images[rows])
        np.testing.assert_array_equal(some_nats, nats[rows])
        for name, column in some.items():
            np.testing.assert_array_equal(column, found[name][rows], err_msg=name)


def test_in_pieces_at_once_they_are_the_same():
    model, images = tiny_flow(image_shape=(8, 8, 3)), random_images(5, (8, 8, 3))
    whole, in_three = (
        Measures(model.frozen(pieces=pieces), model.factorization, SEED).with_map(images)
        for pieces in (1, 3)
    )
    size = np.abs(whole[0]["log_prob"]).max()
    np.testing.assert_allclose(in_three[1], whole[1], rtol=1e-5, atol=1e-6 * size)
    for name, column in whole[0].items():
        np.testing.assert_allclose(
            in_three[0][name], column, rtol=1e-5, atol=1e-6 * size, err_msg=name
        )
