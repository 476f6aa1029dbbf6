"""A batch in pieces that run at once gives what the whole batch gives."""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.model.pieces import in_pieces, num_pieces
from lcma_tf.training.contributions import average_contributions
from testing import random_images, tiny_flow, tiny_glow

SHAPE = (8, 8, 2)
THREADS = tf.config.threading


@pytest.fixture
def one_thread_an_operation(monkeypatch):
    """What `set_intra_op_parallelism_threads(1)` and three operations at once would answer."""
    monkeypatch.setattr(THREADS, "get_intra_op_parallelism_threads", lambda: 1)
    monkeypatch.setattr(THREADS, "get_inter_op_parallelism_threads", lambda: 3)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_rows_come_back_whole_and_in_their_order(num_rows, count):
    seen = []

    def double(rows, factor):
        seen.append(rows.shape)
        return factor * tf.reduce_sum(rows, axis=2)

    run = tf.function(in_pieces(double, (2,), tf.float32, count))
    batch = tf.random.stateless_normal([num_rows, 2, 5], seed=[1, 2])
    np.testing.assert_array_equal(run(batch, 2.0), 2 * tf.reduce_sum(batch, axis=2))
    assert len(seen) == 1 and seen[0][1:] == (2, 5)


def test_no_row_makes_no_piece():
    run = tf.function(in_pieces(tf.identity, (2,), tf.float32, 3), reduce_retracing=True)
    run(tf.zeros([4, 2]))
    assert run(tf.zeros([0, 2])).shape == (0, 2)


def test_pieces_are_as_many_as_operations_run_at_once(monkeypatch):
    assert THREADS.get_intra_op_parallelism_threads() != 1 and num_pieces() == 1
    monkeypatch.setattr(THREADS, "get_intra_op_parallelism_threads", lambda: 1)
    monkeypatch.setattr(THREADS, "get_inter_op_parallelism_threads", lambda: 5)
    assert num_pieces() == 5
    monkeypatch.setattr(THREADS, "get_inter_op_parallelism_threads", lambda: 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert num_pieces() == 2


@pytest.mark.parametrize("make", [tiny_flow, tiny_glow])
@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_flow_says_in_pieces_what_it_says_of_the_whole(one_thread_an_operation, make, is_frozen):
    model = make(image_shape=SHAPE)
    whole, images = model.frozen(pieces=1), random_images(7, SHAPE)
    pieces = model.frozen() if is_frozen else model
    rtol = 1e-5
    np.testing.assert_allclose(pieces.log_prob(images), whole.log_prob(images), rtol=rtol)
    bound = [flow.log_prob(images, num_importance_samples=2) for flow in (pieces, whole)]
    np.testing.assert_allclose(*bound, rtol=rtol)
    latents = whole.encode(images)
    np.testing.assert_allclose(pieces.encode(images), latents, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(pieces.decode(latents), images)
    assert np.mean(pieces.sample(5).numpy() != whole.sample(5).numpy()) < 0.01
    loops = [has_loop(f.passes.log_prob) for f in (pieces, whole)]
    assert loops == [True, False]


def test_a_row_alone_goes_through_no_loop(one_thread_an_operation):
    model = tiny_flow(image_shape=SHAPE)
    flow, image = model.frozen(), random_images(1, SHAPE)
    one = flow.passes.for_rows(1)
    assert flow.passes.for_rows(2) is flow.passes.for_rows(None) is flow.passes is not one
    assert not has_loop(one.log_prob) and has_loop(flow.passes.log_prob)
    np.testing.assert_array_equal(flow.log_prob(image), one.log_prob(image, 0))
    np.testing.assert_array_equal(flow.decode(flow.encode(image)), image)
    assert flow.sample(1).shape == (1, *SHAPE)
    with pytest.raises(ValueError, match="`pieces` must be at least 1; got 0"):
        model.frozen(pieces=0)
    for whole in (model.frozen(pieces=1), model.frozen(batch_invariant=True)):
        assert whole.passes.for_rows(1) is whole.passes


def test_what_a_run_measures_is_the_same_in_pieces(monkeypatch, one_thread_an_operation):
    images = random_images(10, SHAPE)

    def measured():
        model = tiny_flow(image_shape=SHAPE)
        model.compile("adam", jit_compile=False)
        scored = model.evaluate(images, batch_size=4, verbose=0, return_dict=True)
        return scored, average_contributions(model, images, batch_size=4)

    in_three, contributions = measured()
    monkeypatch.undo()
    whole, of_whole = measured()
    assert in_three == pytest.approx(whole, rel=1e-5)
    np.testing.assert_allclose(contributions, of_whole, rtol=1e-4, atol=1e-4)


def test_nothing_is_checked_inside_a_piece(one_thread_an_operation):
    # TensorFlow orders what has an effect, assertions too: such pieces would run one after another.
    passes = tiny_flow(image_shape=SHAPE).frozen().passes
    for function in (passes.log_prob, passes.encode, passes.decode):
        functions = concrete(function).graph.as_graph_def().library.function
        bodies = [f for f in functions if "while_body" in f.signature.name]
        assert len(bodies) == 1
        assert not [node.op for node in bodies[0].node_def if node.op == "Assert"]


def has_loop(function) -> bool:
    return any("While" in op.type for op in concrete(function).graph.get_operations())


def concrete(function):
    return (
        function.get_concrete_function() if hasattr(function, "get_concrete_function") else function
    )
