"""Masks and the order of what goes on, on examples small enough to work out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.bijectors.squeeze import squeeze
from lcma_tf.factorization import masks, order


def grid(rows):
    """A bool mask of one channel, from rows of characters: `x` is True."""
    return np.array([[[cell == "x"] for cell in row] for row in rows])


def test_checkerboard():
    np.testing.assert_array_equal(masks.checkerboard((2, 4, 1)), grid(["x.x.", ".x.x"]))
    odd = masks.checkerboard((2, 4, 1), keep_even=False)
    np.testing.assert_array_equal(odd, grid([".x.x", "x.x."]))
    colour = masks.checkerboard((2, 4, 3))
    assert colour.shape == (2, 4, 3)
    np.testing.assert_array_equal(colour[..., 2], colour[..., 0])


def test_channel_half():
    first = masks.channel_half((2, 3, 4))
    assert first.shape == (2, 3, 4)
    np.testing.assert_array_equal(first[1, 2], [True, True, False, False])
    np.testing.assert_array_equal(masks.channel_half((2, 3, 4), keep_first=False), ~first)
    with pytest.raises(ValueError, match="even number of channels; got \\(2, 2, 3\\)"):
        masks.channel_half((2, 2, 3))


def test_blocks():
    array = np.arange(8).reshape(2, 4, 1)  # 0 1 | 2 3
    expected = [[[[0, 1, 4, 5]], [[2, 3, 6, 7]]]]  # 4 5 | 6 7
    np.testing.assert_array_equal(order.blocks(array), expected)


def test_kept_order_goes_block_by_block():
    mask = grid([".x.x", "x..x"])  # 0 1 | 2 3
    np.testing.assert_array_equal(order.kept_order(mask), [1, 4, 3, 7])  # 4 5 | 6 7
    np.testing.assert_array_equal(order.exited_order(mask), [0, 5, 2, 6])


def test_kept_order_goes_by_channel_inside_a_block():
    # One block of two channels; flat index 2 * pixel + channel.
    mask = np.array([[[0, 1], [1, 1]], [[0, 0], [1, 0]]], bool)
    np.testing.assert_array_equal(order.kept_order(mask), [2, 6, 1, 3])


def test_two_kept_of_each_block_and_channel_land_in_their_own_block():
    shape = (4, 6, 3)
    block = np.arange(6).reshape(2, 3)
    number = np.broadcast_to(np.kron(block, np.ones((2, 2), int))[..., None], shape)
    kept = order.gather_kept(number, masks.checkerboard(shape))
    np.testing.assert_array_equal(kept, np.broadcast_to(block[..., None], (2, 3, 6)))


def test_a_mask_without_structure_overflows_into_the_next_blocks():
    mask = grid(["xx..", "xx.."])
    kept = order.gather_kept(np.arange(8).reshape(2, 4, 1), mask)
    np.testing.assert_array_equal(kept, [[[0, 1], [4, 5]]])


def test_everything_kept_is_the_channel_major_squeeze():
    images = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    kept = order.gather_kept(images, np.ones(images.shape, bool))
    np.testing.assert_array_equal(kept, squeeze(tf.constant(images[None]))[0])
    for i, j, c, a, b in np.ndindex(2, 3, 3, 2, 2):
        assert kept[i, j, 4 * c + 2 * a + b] == images[2 * i + a, 2 * j + b, c]
