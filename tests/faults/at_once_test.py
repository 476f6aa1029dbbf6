"""A flow that is asked by several at once. Of oneDNN's operations one kind may not run twice at a time.

It is a convolution with its bias and a sum. TensorFlow 2.21 keeps the summand of such a kernel in the
kernel itself (`fuse_add_src_` in mkl_conv_ops.cc): two runs at once find each other's, and wrong numbers
and torn memory come of it.
"""

import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from lcma_tf.experiment.metrics import has_onednn
from lcma_tf.scores.measures import Measures
from testing import random_images, tiny_flow, tiny_glow

SHAPE = (8, 8, 2)

FLOWS = {
    "realnvp": lambda: tiny_flow(image_shape=SHAPE, num_residual_blocks=2),
    "realnvp, splines and conditional exits": lambda: tiny_flow(
        image_shape=SHAPE, coupling="spline", exit_prior="conditional"
    ),
    "realnvp, residual exits": lambda: tiny_flow(image_shape=SHAPE, exit_prior="residual"),
    "glow": lambda: tiny_glow(image_shape=SHAPE),
}


def fused(run) -> list[list[bytes]]:
    """What each convolution is fused with in the graphs that TensorFlow makes of `run`."""
    here = context.context()
    here.enable_run_metadata()
    run()
    graphs = here.export_run_metadata().function_graphs
    here.disable_run_metadata()
    assert graphs
    nodes = [
        node
        for graph in graphs
        for part in [graph.post_optimization_graph.node]
        + [function.node_def for function in graph.post_optimization_graph.library.function]
        for node in part
        if "Conv2D" in node.op
    ]
    assert nodes
    return [list(node.attr["fused_ops"].list.s) for node in nodes]


@pytest.mark.skipif(not has_onednn(), reason="Eigen's convolutions take no sum")
def test_it_would_be_seen():
    kernel = tf.Variable(tf.ones([3, 3, 4, 4]))
    bias = tf.Variable(tf.ones([4]))

    @tf.function
    def run(x):
        return x + tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias)

    assert fused(lambda: run(tf.ones([2, 8, 8, 4]))) == [[b"BiasAdd", b"Add"]]


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("is_frozen", [True, False])
def test_no_sum_is_taken_in(kind, is_frozen):
    model = FLOWS[kind]()
    flow, images = model.frozen() if is_frozen else model, random_images(3, SHAPE)
    latents = np.zeros((3, *SHAPE), np.float32)
    measures = Measures(flow, model.factorization)
    for run in (
        lambda: flow.log_prob(images),
        lambda: flow.encode(images),
        lambda: flow.decode(latents),
        lambda: measures.of(images),
    ):
        assert not [ops for ops in fused(run) if b"Add" in ops]


@pytest.mark.parametrize("is_frozen", [True, False])
def test_the_same_at_once_in_several_threads(is_frozen):
    model = tiny_flow(image_shape=SHAPE, num_residual_blocks=2)
    flow = model.frozen() if is_frozen else model
    batches = [random_images(n, SHAPE, seed=n) for n in (1, 2, 3, 5)]
    alone = [flow.log_prob(batch).numpy() for batch in batches]
    wrong, ended = [], []

    def score(first):
        for turn in range(60):
            index = (first + turn) % len(batches)
            if not np.array_equal(flow.log_prob(batches[index]), alone[index]):
                wrong.append(index)
        ended.append(first)

    threads = [threading.Thread(target=score, args=[first]) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == [0, 1, 2, 3] and not wrong
