"""Example requests, and what the model itself answers to them: an export is held to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from lcma_tf.model import FlowModel
from lcma_tf.scores.calibration import Calibration
from lcma_tf.scores.scored_flow import ScoredFlow
from lcma_tf.serving.graph.encoded_images import FILE_CHANNELS

__all__ = ["example_inputs", "expected_outputs"]

_SCORING = ("serving_default", "log_prob", "log_prob_encoded")
_SEED = (7, 11)
_TEMPERATURE = 0.7
_RATE = 0.05


def example_inputs(
    image_shape: tuple[int, ...], calibration: Calibration | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """One row for each signature: by signature and input; those of a calibration if there is one."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, *image_shape), dtype=np.uint8)
    requests = {"serving_default": {"images": images}, "log_prob": {"images": images}}
    if image_shape[-1] in FILE_CHANNELS:
        files = np.array([tf.io.encode_png(image).numpy() for image in images], object)
        requests["log_prob_encoded"] = {"image_bytes": files}
    if calibration is not None:
        rate = np.array([_RATE], np.float32)
        requests |= {
            "scores": {"images": images},
            "scores_at_rate": {"images": images, "false_alarm_rate": rate},
            "heat_map": {"images": images},
        }
        if "log_prob_encoded" in requests:
            requests["scores_encoded"] = requests["log_prob_encoded"]
    return requests | {
        "sample": {
            "seed": np.array([_SEED], np.int32),
            "temperature": np.array([_TEMPERATURE], np.float32),
        },
        "encode": {"images": images},
        "decode": {"latents": rng.normal(size=images.shape).astype(np.float32)},
    }


def expected_outputs(
    model: FlowModel,
    requests: dict[str, dict[str, np.ndarray]],
    noise_seed: int,
    num_importance_samples: int,
    calibration: Calibration | None = None,
) -> dict[str, np.ndarray]:
    """The answers by `signature/output`, from the model's own methods and not from what is exported."""
    with _eager():  # What is asked once is not worth compiling: a second instead of ten.
        images = requests["log_prob"]["images"]
        scores = {
            "log_prob": model.log_prob(images, noise_seed, num_importance_samples).numpy(),
            "bits_per_dim": model.bits_per_dim(images, noise_seed, num_importance_samples).numpy(),
        }
        expected = {
            f"{signature}/{output}": value
            for signature in requests
            if signature in _SCORING
            for output, value in scores.items()
        }
        if calibration is not None:
            scored = ScoredFlow(model, calibration)
            own = scored.scores(images, heat_map=True)
            expected["heat_map/heat_map"] = own.pop("heat_map").numpy()
            at_rate = scored.scores(images, _RATE)
            answers = {"scores": own, "scores_encoded": own, "scores_at_rate": at_rate}
            expected |= {
                f"{signature}/{output}": value.numpy()
                for signature, found in answers.items()
                if signature in requests
                for output, value in found.items()
            }
        expected["encode/latents"] = model.encode(images).numpy()
        asked = requests["sample"]
        normal = tf.random.stateless_normal(
            images.shape[1:], asked["seed"][0], dtype=model.density_dtype, alg="philox"
        )
        drawn = model.decode(asked["temperature"] * normal[None]).numpy()
        decoded = model.decode(requests["decode"]["latents"]).numpy()
    return expected | {"sample/images": drawn, "decode/images": decoded}


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)
