"""A Glow as it is exported, with a rotation and exits that depend on what stays, in the C++ session."""

import dataclasses

import numpy as np
import pytest

import lcma_tf
from lcma_tf.serving.publishing.export_flow import export_flow
from lcma_tf.serving.runtime.cpp_session import CppSession
from testing import random_images, tiny_glow


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_the_exported_graph_says_what_the_model_says(coupling, tmp_path):
    plain = tiny_glow(num_steps_per_scale=1, exit_prior="conditional", coupling=coupling)
    turned = dataclasses.replace(plain.factorization, rotations=[[[0.6, 0.8], [-0.8, 0.6]]])
    model = lcma_tf.FlowModel(plain.config, turned)
    model.set_weights(plain.get_weights())
    version = export_flow(
        model, tmp_path, max_batch_size=4
    )  # Compared with the model as it is made.
    assert (
        "glow, 2 scales, 4 filters, num_steps_per_scale 1"
        in (version / "MODEL_CARD.md").read_text()
    )
    images = random_images(3, (8, 8, 2))
    with CppSession(version) as session:
        scores = session.run("log_prob", {"images": images})["log_prob"]
        latents = session.run("encode", {"images": images})["latents"]
        again = session.run("decode", {"latents": latents})["images"]
    np.testing.assert_allclose(scores, model.log_prob(images), rtol=1e-5)
    np.testing.assert_array_equal(again, images)
