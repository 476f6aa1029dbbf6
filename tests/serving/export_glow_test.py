"""What flows may have beside RealNVP's affine couplings, as it is exported, in the C++ session.

A Glow with a rotation, a whitening and exits that depend on what stays; splines, in either flow.
"""

import dataclasses

import numpy as np
import pytest

import lcma_tf
from lcma_tf.serving.publishing.export_flow import export_flow
from lcma_tf.serving.runtime.cpp_session import CppSession
from testing import random_images, random_whitening, tiny_flow, tiny_glow

FLOWS = {
    "glow": lambda: tiny_glow(num_steps_per_scale=1, exit_prior="conditional"),
    "glow, splines": lambda: tiny_glow(
        num_steps_per_scale=1, exit_prior="conditional", coupling="spline"
    ),
    "realnvp, splines": lambda: tiny_flow(image_shape=(8, 8, 2), coupling="spline"),
    "realnvp, drawn noise": lambda: tiny_flow(image_shape=(8, 8, 2), dequantization="variational"),
    "realnvp, exits": lambda: tiny_flow(
        "random",
        image_shape=(8, 8, 2),
        coupling_masks="aligned",
        exit_prior="residual",
        level_widths=(3, 2),
    ),
}


@pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)
def test_the_exported_graph_says_what_the_model_says(make, tmp_path):
    plain = make()
    # Random splines are flat where a random whitening takes pixels: float32 has no digits left there.
    whitening = random_whitening(2) if plain.config.coupling == "affine" else None
    decided = dataclasses.replace(
        plain.factorization, rotations=[[[0.6, 0.8], [-0.8, 0.6]]], whitening=whitening
    )
    model = lcma_tf.FlowModel(plain.config, decided)
    model.set_weights(plain.get_weights())
    version = export_flow(
        model, tmp_path, max_batch_size=4
    )  # Compared with the model as it is made.
    config = model.config
    filters = "/".join(map(str, config.level_widths or [config.base_dim]))
    told = f"{config.flow}, 2 scales, {filters} filters"
    own = "num_steps_per_scale 1" if config.flow == "glow" else "num_couplings 1"
    card = (version / "MODEL_CARD.md").read_text()
    fitted = (
        "colours turned" if whitening is None else "colours turned, images whitened, after that"
    )
    assert f"{told}, {own}" in card and f"| before the first scale | {fitted} |" in card
    bent = "1 draw(s), bent by a network that sees the image |"
    assert (bent in card) == (config.dequantization == "variational")
    images = random_images(3, (8, 8, 2))
    with CppSession(version) as session:
        scores = session.run("log_prob", {"images": images})["log_prob"]
        latents = session.run("encode", {"images": images})["latents"]
        again = session.run("decode", {"latents": latents})["images"]
    np.testing.assert_allclose(scores, model.log_prob(images), rtol=1e-5)
    np.testing.assert_array_equal(again, images)
