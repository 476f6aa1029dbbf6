"""Flows as they are exported, without what a publication does beside it."""

from __future__ import annotations

import tensorflow as tf

from lcma_tf.serving.graph.signatures import ServingFlow


def save_flow(flow, folder, **settings):
    """Saves a frozen flow with its signatures; returns the folder. `settings`: of `ServingFlow`."""
    serving = ServingFlow(flow, **settings)
    tf.saved_model.save(serving, str(folder), signatures=serving.signatures)
    return folder
