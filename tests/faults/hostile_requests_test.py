"""Requests as a server gets them, serialized tensors, that are not what they should be.

TensorFlow makes the tensors of them, in the C++ loader, as TensorFlow Serving does: whatever type, shape
or content a message claims, it is refused or answered in finite numbers, and nothing stays behind.
"""

import numpy as np
import pytest
import tensorflow as tf

from lcma_tf.serving.runtime.c_api import LoaderError
from lcma_tf.serving.runtime.comparison import check_equal
from lcma_tf.serving.runtime.cpp_loader import CppLoader
from lcma_tf.serving.runtime.meta_graph import read_meta_graph, read_signatures
from saved_flows import save_flow
from testing import random_images, tiny_flow

SHAPE = (8, 8, 3)
IMAGES = random_images(2, SHAPE)
# What a message claims is made before any graph can refuse it; what no memory holds is refused at once.
MAX_ELEMENTS = 2_000_000
INPUTS = {
    "log_prob": {"images": IMAGES},
    "encode": {"images": IMAGES},
    "log_prob_encoded": {
        "image_bytes": np.array([tf.io.encode_png(image).numpy() for image in IMAGES], object)
    },
    "decode": {"latents": np.ones((2, *SHAPE), np.float32)},
    "sample": {"seed": np.zeros((2, 2), np.int32), "temperature": np.ones(2, np.float32)},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    flow = tiny_flow(image_shape=SHAPE, num_scales=1).frozen()
    folder = save_flow(flow, tmp_path_factory.mktemp("export") / "flow")
    with CppLoader(folder) as loader:
        yield loader, read_signatures(read_meta_graph(folder))


def run(served, name, protos):
    loader, signatures = served
    stated = signatures[name]
    feeds = {stated.inputs[key].name: value for key, value in protos.items()}
    return loader.run(feeds, [info.name for info in stated.outputs.values()])


def serialized(inputs):
    return {name: tf.make_tensor_proto(array) for name, array in inputs.items()}


def claimed(message):
    """Elements that a message claims; refused shapes claim none."""
    sizes = [dim.size for dim in message.tensor_shape.dim]
    return 0 if any(size < 0 for size in sizes) else int(np.prod(sizes, dtype=object))


def change(rng, message):
    """Changes one thing of a TensorProto."""
    dims = message.tensor_shape.dim
    match rng.integers(9):
        case 0:  # Every type there is, references and resources too, and some that there are not.
            message.dtype = int(rng.choice([*range(30), 101, 104, 120, 2**30]))
        case 1 if dims:
            dims[rng.integers(len(dims))].size = int(
                rng.choice([-1, 0, 1, 3, 64, 65, 5_000, -(2**63), 2**62, 2**63 - 1])
            )
        case 2 if dims:
            del dims[rng.integers(len(dims))]
        case 3:
            dims.add(size=int(rng.choice([0, 1, 2, 2**40])))
        case 4:
            message.tensor_shape.unknown_rank = True
        case 5:
            message.tensor_content = message.tensor_content[: rng.integers(50)] + rng.bytes(3)
        case 6:
            message.ClearField("tensor_content")
            message.int_val[:] = rng.integers(-(2**31), 2**31, rng.integers(4)).tolist()
        case 7:
            message.ClearField("tensor_content")
            message.float_val[:] = rng.choice([np.nan, np.inf, 1e38, -0.0, 5.0], 2).tolist()
        case 8:
            message.string_val[:] = [rng.bytes(int(rng.integers(60)))] * int(rng.integers(4))


def test_whatever_a_message_claims_is_refused_or_answered(served, at_length):
    rng = np.random.default_rng(0)
    good = {name: run(served, name, wire(serialized(inputs))) for name, inputs in INPUTS.items()}
    answered = refused = 0
    for number in range(at_length(1_500, 50_000)):
        name = str(rng.choice(list(INPUTS)))
        messages = serialized(INPUTS[name])
        for _ in range(rng.integers(1, 3)):
            change(rng, messages[str(rng.choice(list(messages)))])
        if MAX_ELEMENTS < max(map(claimed, messages.values())) < 2**60:
            continue
        try:
            answer = run(served, name, wire(messages))
        except LoaderError:
            refused += 1
        else:
            answered += 1
            for array in answer:
                assert 1 <= len(array) <= 64 and np.isfinite(array).all(), (number, messages)
        if number % 50 == 0:
            for key, expected in good.items():
                again = run(served, key, wire(serialized(INPUTS[key])))
                for i, array in enumerate(again):
                    check_equal(f"{key}/{i} after {number}", array, expected[i])
    assert answered > 20 and refused > 500


def wire(messages):
    return {name: message.SerializeToString() for name, message in messages.items()}


def test_bytes_that_are_no_message_are_refused(served):
    rng = np.random.default_rng(0)
    good = tf.make_tensor_proto(IMAGES).SerializeToString()
    for _ in range(300):
        message = rng.bytes(int(rng.integers(1, 80)))
        try:
            answer = run(served, "log_prob", {"images": message})
        except LoaderError:
            continue
        pytest.fail(f"{message!r} was answered {answer}")
    assert np.isfinite(run(served, "log_prob", {"images": good})[0]).all()
