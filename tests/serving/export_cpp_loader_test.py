"""The C++ loader alone: what it runs, what it refuses, that nothing of Python's TensorFlow is needed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import plain_saved_models
from lcma_tf.serving.runtime import c_api
from lcma_tf.serving.runtime.c_api import LoaderError
from lcma_tf.serving.runtime.cpp_loader import CppLoader
from lcma_tf.serving.runtime.meta_graph import read_meta_graph, read_signatures
from plain_saved_models import EVERY, IMAGES, REQUESTS

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {name: array for name, array in EVERY.items() if name != "string"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return plain_saved_models.save(tmp_path_factory.mktemp("plain") / "1")


@pytest.fixture(scope="module")
def loader(path):
    with CppLoader(path) as loader:
        yield loader


@pytest.fixture(scope="module")
def signatures(path):
    return read_signatures(read_meta_graph(path))


def proto(array):
    return tf.make_tensor_proto(array).SerializeToString()


def run(loader, signature, protos, *outputs):
    feeds = {signature.inputs[name].name: value for name, value in protos.items()}
    found = loader.run(feeds, [signature.outputs[name].name for name in outputs])
    return dict(zip(outputs, found, strict=True))


def test_values_are_those_of_the_graph(loader, signatures):
    images = np.concatenate([IMAGES, 3 * IMAGES])
    answer = run(loader, signatures["scale"], {"images": proto(images)}, "total", "same")
    np.testing.assert_array_equal(
        answer["total"], 0.5 * images.sum((1, 2, 3), dtype=np.float32), strict=True
    )
    np.testing.assert_array_equal(answer["same"], images, strict=True)


@pytest.mark.parametrize("rows", [0, 1, 2, 5_000])
def test_every_dtype_goes_in_and_comes_out_as_it_is(loader, signatures, rows):
    arrays = {name: np.resize(array, rows) for name, array in EVERY.items()}
    protos = {name: proto(array) for name, array in arrays.items()}
    outputs = [f"{name}_again" for name in NUMBERS]
    answer = run(loader, signatures["every"], protos, *outputs)
    for name in NUMBERS:
        np.testing.assert_array_equal(answer[f"{name}_again"], arrays[name], strict=True)


@pytest.mark.parametrize("text", [[b"ab\0", "c\u00e9".encode()], [bytes(range(256)) * 100] * 300])
def test_strings_go_in(loader, signatures, text):
    protos = {"text": proto(np.array(text, object))}
    (length,) = run(loader, signatures["text"], protos, "length").values()
    assert length.tolist() == [len(one) for one in text]


def test_numbers_without_a_dimension(loader, signatures):
    protos = {name: proto(array) for name, array in REQUESTS["logarithm"].items()}
    (answer,) = run(loader, signatures["logarithm"], protos, "logarithm").values()
    np.testing.assert_array_equal(answer, [[0.0]])


def test_the_last_value_of_a_message_fills_the_rest_and_wraps(loader, signatures):
    """As on a server, whose tensors are made by the same code."""
    message = tf.make_tensor_proto(IMAGES)
    message.ClearField("tensor_content")
    message.int_val[:] = [300, 1]
    (same,) = run(
        loader, signatures["scale"], {"images": message.SerializeToString()}, "same"
    ).values()
    assert same.ravel().tolist() == [44] + [1] * 17


def broken_messages():
    good = proto(IMAGES)
    yield from (good[:size] for size in range(1, len(good)))
    rng = np.random.default_rng(0)
    for _ in range(2_000):
        message = bytearray(good)
        for _ in range(rng.integers(1, 4)):
            message[rng.integers(len(message))] = rng.integers(256)
        yield bytes(message)


def test_what_is_no_tensor_is_refused_and_the_next_run_is_right(loader, signatures):
    refused = 0
    for number, message in enumerate(broken_messages()):
        try:
            run(loader, signatures["scale"], {"images": message}, "same")
        except LoaderError:
            refused += 1
        if number % 100 == 0:
            answer = run(loader, signatures["scale"], {"images": proto(IMAGES)}, "same")
            np.testing.assert_array_equal(answer["same"], IMAGES)
    assert refused > 500


@pytest.mark.parametrize(
    ("feeds", "fetches", "message"),
    [
        (
            {"scale_images:0": b"\xff"},
            ["scale_images:0"],
            "Reading the TensorProto for scale_images",
        ),
        ({"scale_images:0": proto(np.float32(1))}, ["scale_images:0"], "both fed and fetched"),
        (
            {"nothing:0": proto(IMAGES)},
            [],
            "The graph must have the tensor .nothing:0.; it has not",
        ),
        ({}, ["scale_images"], "must have the tensor 'scale_images'; it has not"),
        ({}, ["scale_images:-1"], "must have the tensor 'scale_images:-1'; it has not"),
        ({}, ["scale_images:7"], "Running: "),
        ({}, ["scale_images:0"], "must feed a value for placeholder"),
    ],
)
def test_what_the_graph_has_not_is_refused(loader, feeds, fetches, message):
    with pytest.raises(LoaderError, match=message):
        loader.run(feeds, fetches)


def test_strings_do_not_come_out(loader, signatures):
    protos = {"text": proto(EVERY["string"])}
    with pytest.raises(LoaderError, match="must have a dtype of numbers; got TensorFlow's 7"):
        run(loader, signatures["text"], protos, "twice")


def test_a_closed_model_is_refused(path):
    loader = CppLoader(path)
    loader.close()
    loader.close()
    with pytest.raises(LoaderError, match="The model must be open; it is closed"):
        loader.run({}, [])


@pytest.mark.parametrize("torn", [None, "saved_model.pb", "variables/variables.index"])
def test_what_is_no_whole_saved_model_is_refused(tmp_path, torn):
    path = tmp_path / "1"
    if torn:
        plain_saved_models.save(path, "scale")
        os.truncate(path / torn, (path / torn).stat().st_size // 2)
    with pytest.raises(LoaderError, match=f"Loading {path}: "):
        CppLoader(path)


def test_without_the_wheel_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(c_api, "library", c_api.library.__wrapped__)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LoaderError, match="wheel must be installed.* no package `tensorflow`"):
        CppLoader(tmp_path)
    spec = importlib.util.spec_from_loader("tensorflow", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(LoaderError, match="libtensorflow_cc.so.2, as those for Linux do"):
        CppLoader(tmp_path)


def test_a_clean_process_runs_it_without_tensorflow_in_python(path, signatures):
    scale = signatures["scale"]
    feeds = {scale.inputs["images"].name: proto(IMAGES)}
    code = f"""
import sys
from lcma_tf.serving.runtime.cpp_loader import CppLoader
with CppLoader({str(path)!r}) as loader:
    (total,) = loader.run({feeds}, [{scale.outputs["total"].name!r}])
# Its symbols are not the process': its BoringSSL would replace the OpenSSL of hashlib and ssl.
import ctypes
print(total, hasattr(ctypes.CDLL(None), "TF_NewGraph"))
print([name for name in ("tensorflow", "keras", "google.protobuf") if name in sys.modules])
print([name for name in sys.modules if name.startswith("lcma_tf.") and ".serving" not in name])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # The base of all errors is plain Python: of flows nothing is loaded.
    assert done.stdout.splitlines() == ["[76.5] False", "[]", "['lcma_tf.errors']"]
