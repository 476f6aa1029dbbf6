"""Flows as they are exported, without what a publication does beside it."""

from __future__ import annotations

import contextlib

import tensorflow as tf

import lcma_tf
from lcma_tf.scores.scored_flow import ScoringGraph
from lcma_tf.serving.graph.signatures import ServingFlow
from lcma_tf.serving.runtime.cpp_session import CppSession
from testing import random_images, tiny_flow


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


@contextlib.contextmanager
def opened_calibrated_flow(folder):
    """The session of a calibrated tiny flow of 8x8 colour images, saved below `folder`."""
    shape = (8, 8, 3)
    model = tiny_flow(image_shape=shape, num_scales=1)
    calibration = lcma_tf.calibrate(model, random_images(128, shape), verbose=False)
    flow = model.frozen()
    scoring = ScoringGraph(flow, model.factorization, calibration)
    with CppSession(save_flow(flow, folder / "1", scoring=scoring), check=False) as session:
        yield session
