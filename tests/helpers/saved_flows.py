"""Flows as they are exported, without what a publication does beside it."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from lcma_tf.serving.graph.signatures import ServingFlow
from lcma_tf.serving.runtime.cpp_session import CppSession
from testing import tiny_flow


def save_flow(flow, folder, **settings):
    """Saves a frozen flow with its signatures; returns the folder. `settings`: of `ServingFlow`."""
    serving = ServingFlow(flow, **settings)
    tf.saved_model.save(serving, str(folder), signatures=serving.signatures)
    return folder


@contextlib.contextmanager
def opened_flow(image_shape, folder):
    """The session of a tiny flow, saved below `folder`, that lets every request through to its graph."""
    flow = tiny_flow(image_shape=image_shape, num_scales=1).frozen()
    with CppSession(save_flow(flow, folder / "flow"), check=False) as session:
        yield session
