"""A score and the batch it came in: the same up to rounding, and to the bit where that is asked for.

Which kernels run is decided by the processor and by oneDNN's switch, so the same checks run again in
processes that have other kernels: a processor of today can pass for an older one.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from testing import assert_same_in_any_batch, random_images, tiny_flow

# Sizes that blocks of a kernel divide, and sizes that they do not.
FLOWS = {
    "even": {"image_shape": (8, 8, 3), "base_dim": 4},
    "odd": {"image_shape": (6, 10, 1), "base_dim": 3},
    "splines": {"image_shape": (8, 8, 1), "base_dim": 3, "coupling": "spline"},
}
NUM_IMAGES = 20
SIZES = (1, 3, 8)
# `ONEDNN_MAX_CPU_ISA` is oneDNN's own; TensorFlow's other matrix products ask it, too.
KERNELS = [
    {"TF_ENABLE_ONEDNN_OPTS": onednn, **isa}
    for isa in ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, {}, {"ONEDNN_MAX_CPU_ISA": "SSE41"})
    for onednn in ("0", "1")
]


def entrances(model):
    """Functions of a batch, by name: whatever scores, encodes or decodes an image."""
    frozen = model.frozen()

    @tf.function(input_signature=[tf.TensorSpec([None, *model.config.image_shape], tf.uint8)])
    def density(images):
        return model.distribution.log_prob(tf.cast(images, tf.float32) + 0.5)

    @tf.function(input_signature=density.input_signature)
    def predicted(images):
        return tf.reduce_sum(model(images), axis=-1)

    return {
        "model": lambda images: model.log_prob(images),
        "model, 2 draws": lambda images: model.log_prob(images, num_importance_samples=2),
        "frozen": lambda images: frozen.log_prob(images),
        "distribution": density,
        "call": predicted,
        "latents": lambda images: model.encode(images),
    }


def invariant_ones(model):
    flow = model.frozen(batch_invariant=True)
    return {
        "log_prob": lambda images: flow.log_prob(images),
        "2 draws": lambda images: flow.log_prob(images, num_importance_samples=2),
        "bits_per_dim": lambda images: flow.bits_per_dim(images),
        "encode": lambda images: flow.encode(images),
        "decode": lambda images: flow.decode(flow.encode(images, seed=1)),
    }


def in_batches(function, images, size):
    starts = range(0, len(images), size)
    return np.concatenate([np.asarray(function(images[i : i + size])) for i in starts])


@pytest.fixture(scope="module", params=FLOWS)
def model(request):
    return tiny_flow(**FLOWS[request.param])


@pytest.fixture(scope="module")
def images(model):
    return random_images(NUM_IMAGES, model.config.image_shape)


def test_batches_of_any_size_and_order_score_alike(model, images):
    order = np.random.default_rng(0).permutation(NUM_IMAGES)
    for name, function in entrances(model).items():
        whole = in_batches(function, images, NUM_IMAGES)
        for size in SIZES:
            assert_same_in_any_batch(in_batches(function, images, size), whole, f"{name}, {size}")
        shuffled = in_batches(function, images[order], NUM_IMAGES)
        assert_same_in_any_batch(shuffled, whole[order], name)


def test_images_come_back_in_batches_of_any_size(model, images):
    for flow in (model, model.frozen()):
        for size in (*SIZES, NUM_IMAGES):
            decoded = in_batches(
                lambda batch, flow=flow: flow.decode(flow.encode(batch)), images, size
            )
            np.testing.assert_array_equal(decoded, images, err_msg=str(size))


def test_a_batch_invariant_flow_has_the_same_bits_in_every_batch(model, images):
    order = np.random.default_rng(0).permutation(NUM_IMAGES)
    for name, function in invariant_ones(model).items():
        whole = in_batches(function, images, NUM_IMAGES)
        for size in SIZES:
            parts = in_batches(function, images, size)
            np.testing.assert_array_equal(parts, whole, err_msg=f"{name}, {size}")
        shuffled = in_batches(function, images[order], NUM_IMAGES)
        np.testing.assert_array_equal(shuffled, whole[order], err_msg=name)


def test_a_batch_invariant_flow_says_what_the_model_says(model, images):
    flow = model.frozen(batch_invariant=True)
    np.testing.assert_allclose(flow.log_prob(images), model.log_prob(images), rtol=1e-5)
    np.testing.assert_allclose(flow.log_prob(images, 3, 4), model.log_prob(images, 3, 4), rtol=1e-5)
    assert_same_in_any_batch(flow.sample(5, seed=1), model.sample(5, seed=1))
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)
    assert flow.log_prob(images[:0]).shape == (0,)


def test_so_it_is_with_other_kernels(at_length):
    """The tests above, in processes of their own; of the flow whose sizes no block divides."""
    if any(name in os.environ for name in ("LCMA_TF_OTHER_KERNELS", "ONEDNN_MAX_CPU_ISA")):
        pytest.skip("This is one of these processes, or kernels were chosen for it.")
    for kernels in KERNELS[: at_length(1, len(KERNELS))]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "odd", __file__],
            env={**os.environ, **kernels, "LCMA_TF_OTHER_KERNELS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (kernels, done.stdout[-3000:])
