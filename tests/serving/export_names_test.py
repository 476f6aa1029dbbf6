"""`export` still offers the names that programs import from it: those of `lcma_tf.serving`."""

import importlib

import pytest

MOVED = {
    "export.client": "lcma_tf.serving.client.client",
    "export.cpp_session": "lcma_tf.serving.runtime.cpp_session",
    "export.export_saved_model": "lcma_tf.serving.publishing.export_flow",
    "export.grpc_client": "lcma_tf.serving.client.grpc",
    "export.rest_client": "lcma_tf.serving.client.rest",
    "export.score": "lcma_tf.serving.client.score",
    "export.signatures": "lcma_tf.serving.graph.signatures",
    "export.verify": "lcma_tf.serving.runtime.verify",
}


@pytest.mark.parametrize("name", MOVED)
def test_the_names_are_the_same_objects(name):
    old, new = importlib.import_module(name), importlib.import_module(MOVED[name])
    assert sorted(old.__all__) == sorted(new.__all__)
    assert all(getattr(old, each) is getattr(new, each) for each in new.__all__)
