"""FusedMuon: orthogonal steps for kernels, those of FusedAdam for all else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.model import FusedAdam, FusedMuon
from lcma_tf.model.fused_muon import orthogonalized
from testing import random_images, tiny_flow

SHAPES = [(27, 4), (4, 27), (16, 16), (9, 1)]


def random_matrices(shape, condition=50.0):
    """Three of them, with singular values from 1 down to 1 / condition of the largest."""
    rng = np.random.default_rng(0)
    left, values, right = np.linalg.svd(rng.normal(size=(3, *shape)), full_matrices=False)
    values = np.geomspace(1, 1 / condition, values.shape[-1]) * np.array([[1.0], [1e-6], [1e6]])
    return left * values[:, None] @ right


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_values_come_near_one_and_vectors_stay(shape, dtype):
    matrices = random_matrices(shape)
    found = orthogonalized(tf.constant(matrices, dtype)).numpy()
    left, _, right = np.linalg.svd(matrices, full_matrices=False)
    # What is left of it in the basis of its own singular vectors: a diagonal.
    inside = np.swapaxes(left, -1, -2) @ found @ np.swapaxes(right, -1, -2)
    diagonal = np.diagonal(inside, axis1=-2, axis2=-1)
    assert diagonal.min() > 0.6 and diagonal.max() < 1.25
    np.testing.assert_allclose(inside, diagonal[..., None] * np.eye(inside.shape[-1]), atol=2e-3)


def test_zeros_stay():
    assert (orthogonalized(tf.zeros([2, 9, 4])).numpy() == 0).all()


@pytest.mark.parametrize("exponent", [0, -40, -60, -63, -64, -66, -90, -125])
def test_what_hardly_is_any_more_is_still_made_orthogonal(exponent):
    """The average of a gradient that has ended, on its way to zero: its squares are none in float32."""
    matrices = np.random.default_rng(0).uniform(0.5, 1.0, (1, 96, 16)).astype(np.float32)
    matrices *= np.random.default_rng(1).choice([-1, 1], matrices.shape)
    expected = orthogonalized(tf.constant(matrices))
    found = orthogonalized(tf.constant(matrices * np.float32(2.0) ** exponent))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def newton_schulz(matrix):
    """As the source has it, one matrix, both sides met in each iteration."""
    x = matrix / np.linalg.norm(matrix)
    x = x.T if x.shape[0] > x.shape[1] else x
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def expected_steps(start, gradients, rate, momentum):
    """Kernels `[n, h, w, c_in, c_out]` after steps by `gradients`, one matrix at a time."""
    columns = start.shape[-1]
    matrices = start.reshape(len(start), -1, columns).copy()
    average = np.zeros_like(matrices)
    for gradient in gradients:
        gradient = gradient.reshape(average.shape)
        average = momentum * average + (1 - momentum) * gradient
        for index, matrix in enumerate((1 - momentum) * gradient + momentum * average):
            size = 0.4 * np.sqrt(max(matrix.shape))
            matrices[index] -= rate * size * newton_schulz(matrix)
    return matrices.reshape(start.shape)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_its_steps(dtype):
    rng = np.random.default_rng(1)
    # Two kernels of one shape, one of them stacked; a third of another; and what is no kernel.
    shapes = [(2, 3, 3, 2, 4), (3, 3, 2, 4), (1, 1, 4, 2), (2, 4), (4,)]
    starts = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    gradients = [[rng.normal(size=shape).astype(dtype) for shape in shapes] for _ in range(3)]
    found = {}
    for kind in (FusedMuon, FusedAdam):
        variables = [keras.Variable(start, dtype=dtype) for start in starts]
        optimizer = kind(0.125)  # Which float32 has to the last digit.
        optimizer.build(variables)
        for of_step in gradients:
            optimizer.apply(list(map(tf.constant, of_step)))
        found[kind] = [variable.numpy() for variable in variables]
    rtol = 1e-4 if dtype == "float32" else 1e-9
    for index in range(3):
        start = starts[index].astype("float64")
        start = start if start.ndim == 5 else start[None]
        of_kernel = [of_step[index].astype("float64") for of_step in gradients]
        expected = expected_steps(start, of_kernel, 0.125, 0.95)
        np.testing.assert_allclose(
            found[FusedMuon][index], expected.reshape(shapes[index]), rtol=rtol, atol=rtol
        )
    for index in (3, 4):
        np.testing.assert_array_equal(found[FusedMuon][index], found[FusedAdam][index])


def test_a_flow_trains_by_it_and_is_saved_with_it(tmp_path):
    model = tiny_flow("realnvp", random_weights=None)
    model.compile(FusedMuon(1e-2, momentum=0.9, global_clipnorm=100.0), jit_compile=False)
    images = random_images(32, model.config.image_shape)
    losses = model.fit(images, batch_size=8, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "flow.keras")
    again = keras.models.load_model(tmp_path / "flow.keras").optimizer
    assert isinstance(again, FusedMuon) and again.momentum == 0.9
    for own, loaded in zip(model.optimizer.variables, again.variables, strict=True):
        np.testing.assert_array_equal(own.numpy(), loaded.numpy())
