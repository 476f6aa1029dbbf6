"""The graph that is served: a flow's signatures, with every check that the server does not make.

TensorFlow Serving runs what it is sent: it checks names and types, not shapes, rows or values. So each
signature first refuses what it was not made for, with INVALID_ARGUMENT, before anything is computed.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from lcma_tf.bijectors import dequantize, quantize
from lcma_tf.config import require, require_count
from lcma_tf.model.bits_per_dim import nats_to_bits_per_dim
from lcma_tf.model.frozen_flow import FrozenFlow
from lcma_tf.model.graph_checks import after, finite
from lcma_tf.model.importance_bound import importance_weighted
from lcma_tf.scores.scored_flow import ScoringGraph
from lcma_tf.serving.client.checks import MAX_BATCH_SIZE, MAX_TEMPERATURE
from lcma_tf.serving.graph.calibrated import CalibratedGraph
from lcma_tf.serving.graph.checked import checked_rows, concrete
from lcma_tf.serving.graph.encoded_images import FILE_CHANNELS, JPEG_METHODS, decode_images

__all__ = ["ServingFlow", "check_serving_arguments"]

_MAX_DRAWS = 1_000  # Their noise is a constant of the graph, of which a file holds 2 GB.


class ServingFlow(tf.Module):
    """The weights of a flow, and the concrete functions that use them.

    The module holds variables alone: what it held beside them, `tf.saved_model.save` would trace again
    or store twice. `signatures` are what a server offers:

    - `log_prob`, also as `serving_default`: `images` uint8 `[N, H, W, C]` to `log_prob` (nats, `[N]`;
      the lower bound of the 8-bit image's log-probability) and `bits_per_dim`.
    - `log_prob_encoded`: `image_bytes` string `[N]`, PNG or JPEG files of exactly `H x W`, to the
      same; for flows of 1 or 3 channels.
    - `sample`: `seed` int32 `[N, 2]`, `temperature` float32 `[N]` in [0, 2] to `images` uint8. A row is
      a function of its own seed and temperature, whatever it is batched with.
    - `encode`: `images` to `latents` float32 `[N, H, W, C]` (u = 0.5); `decode` the other way.

    With `scoring`, a calibrated flow, also

    - `scores`: `images` to every score of `lcma_tf.choices.SCORES` that there is for them, `[N]`;
      `scores_encoded`: `image_bytes` to the same; `scores_at_rate`: `images` and `false_alarm_rate`
      float32 `[N]` in (0, 0.5) to the same, at this rate in place of the calibration's.
    - `heat_map`: `images` to `heat_map` float32 `[N, H, W]`, nats.

    All need `1 <= N <= max_batch_size`. The noise of a score is one constant: a score is a function of
    the pixels alone, up to rounding (1e-6 relative, as kernels take batches of other sizes in another
    order), and to the bit if the flow is `batch_invariant`.

    Args:
        flow: its variables are taken over; of the rest, whether it is `batch_invariant`.
        noise_seed: of the dequantization noise; scores equal `FlowModel.log_prob(images, noise_seed,
            num_importance_samples)`.
        num_importance_samples: noise draws of a score, at most 1,000; each costs a pass.
        max_batch_size: rows of a request, or of the requests that a server merges.
        scoring: of the same flow; None = there are no such signatures.
        jpeg_method: how `log_prob_encoded` decodes JPEG, see `lcma_tf.data.ImageData`.

    Raises:
        ConfigError: an argument breaks its rule.
    """

    def __init__(
        self,
        flow: FrozenFlow,
        noise_seed: int = 0,
        num_importance_samples: int = 1,
        max_batch_size: int = MAX_BATCH_SIZE,
        jpeg_method: str = JPEG_METHODS[0],
        scoring: ScoringGraph | None = None,
    ):
        super().__init__(name="serving_flow")
        check_serving_arguments(num_importance_samples, max_batch_size, jpeg_method)
        self.flow_variables = list(flow.variables)
        graph = _ServingGraph(
            flow, noise_seed, num_importance_samples, max_batch_size, jpeg_method, scoring
        )
        # Out of sight of `tf.Module`, whose attributes are saved.
        object.__setattr__(self, "_signatures", _Untracked(graph.signatures()))

    @property
    def signatures(self) -> dict[str, Any]:
        """Concrete functions by name."""
        return self._signatures.value  # pyright: ignore[reportAttributeAccessIssue]


class _Untracked:
    """Hides a value from TensorFlow's object graph."""

    def __init__(self, value: Any):
        self.value = value


def check_serving_arguments(
    num_importance_samples: int, max_batch_size: int, jpeg_method: str
) -> None:
    """Raises `ConfigError` at what `ServingFlow` would refuse."""
    require_count("num_importance_samples", num_importance_samples, _MAX_DRAWS)
    require_count("max_batch_size", max_batch_size)
    require(jpeg_method in JPEG_METHODS, "jpeg_method", f"one of {JPEG_METHODS}", jpeg_method)


class _ServingGraph:
    """Traces the signatures; the two passes through the flow are one function each, shared by all."""

    def __init__(
        self, flow, noise_seed, num_importance_samples, max_batch_size, jpeg_method, scoring
    ):
        self._flow = flow
        self._shape = flow.config.image_shape
        self._max_batch_size = max_batch_size
        self._checked = functools.partial(checked_rows, max_batch_size)
        self._jpeg_method = jpeg_method
        self._scoring = scoring
        self._noise = flow.scoring_noise(noise_seed, num_importance_samples).numpy()
        dtype = flow.density_dtype
        self._inverse = tf.function(
            self._latents_and_nats,
            input_signature=[tf.TensorSpec([None, *self._shape], dtype)],
            autograph=False,
        )
        self._forward = tf.function(
            flow.distribution.bijector.forward,
            input_signature=[tf.TensorSpec([None, *self._shape], dtype)],
            autograph=False,
        )

        self._nats = flow.by_rows(self._log_prob_of, (), dtype)
        self._latents = flow.by_rows(self._latents_of, self._shape, dtype)
        self._pixels = flow.by_rows(self._forward, self._shape, dtype)

    def signatures(self) -> dict[str, Any]:
        images = self._images()
        log_prob = concrete(self._log_prob, images=images)
        signatures = {"serving_default": log_prob, "log_prob": log_prob}
        if self._shape[-1] in FILE_CHANNELS:
            signatures["log_prob_encoded"] = concrete(
                self._log_prob_encoded, image_bytes=tf.TensorSpec([None], tf.string)
            )
        if self._scoring is not None:
            settings = self._shape, self._max_batch_size, self._jpeg_method
            signatures |= CalibratedGraph(self._scoring, *settings).signatures()
        return signatures | {
            "sample": concrete(
                self._sample,
                seed=tf.TensorSpec([None, 2], tf.int32),
                temperature=tf.TensorSpec([None], tf.float32),
            ),
            "encode": concrete(self._encode, images=images),
            "decode": concrete(
                self._decode, latents=tf.TensorSpec([None, *self._shape], tf.float32)
            ),
        }

    def _images(self):
        return tf.TensorSpec([None, *self._shape], tf.uint8)

    def _log_prob(self, images):
        (images,) = self._checked(images=(images, self._shape))
        return self._scores(images)

    def _log_prob_encoded(self, image_bytes):
        (image_bytes,) = self._checked(image_bytes=(image_bytes, ()))
        return self._scores(decode_images(image_bytes, self._shape, self._jpeg_method))

    def _latents_and_nats(self, y):
        """Of real pixels."""
        passes = self._flow.passes
        latents, *terms = passes.latents_and_terms_of(y)
        return latents, tf.reduce_sum(passes.parts_of(latents, *terms), axis=-1)

    def _log_prob_of(self, images):
        if len(self._noise) == 1:
            return self._nats_at(images, self._noise[0])
        return importance_weighted(
            lambda noise: self._nats_at(images, noise),
            tf.constant(self._noise),
            self._flow.density_dtype,
        )

    def _nats_at(self, images, noise):
        y, drawn = self._flow.passes.dequantized(images, noise)
        nats = self._inverse(y)[1]
        return nats if drawn is None else nats + tf.reduce_sum(drawn, axis=[1, 2, 3])

    def _latents_of(self, images):
        return self._inverse(dequantize(images, 0.5, self._flow.density_dtype))[0]

    def _scores(self, images):
        nats = finite(self._nats(images), "images: an image has no finite score")
        nats = tf.cast(nats, tf.float32)
        size = self._flow.config.num_dimensions
        return {"log_prob": nats, "bits_per_dim": nats_to_bits_per_dim(nats, size)}

    def _sample(self, seed, temperature):
        seed, temperature = self._checked(seed=(seed, (2,)), temperature=(temperature, ()))
        # A comparison with NaN is false.
        valid = tf.reduce_all((temperature >= 0) & (temperature <= MAX_TEMPERATURE))
        message = f"temperature: must be between 0 and {MAX_TEMPERATURE}"
        (temperature,) = after([tf.debugging.Assert(valid, [message, temperature])], temperature)
        dtype = self._flow.density_dtype
        normal = tf.map_fn(
            lambda row: tf.random.stateless_normal(self._shape, row, dtype=dtype, alg="philox"),
            seed,
            fn_output_signature=tf.TensorSpec(self._shape, dtype),
        )
        scale = tf.cast(tf.reshape(temperature, [-1, *[1] * len(self._shape)]), dtype)
        return {"images": self._images_of(scale * normal, "seed")}

    def _encode(self, images):
        (images,) = self._checked(images=(images, self._shape))
        latents = finite(self._latents(images), "images: an image has no finite latents")
        return {"latents": tf.cast(latents, tf.float32)}

    def _decode(self, latents):
        (latents,) = self._checked(latents=(latents, self._shape))
        latents = finite(latents, "latents: must be finite")
        return {"images": self._images_of(tf.cast(latents, self._flow.density_dtype), "latents")}

    def _images_of(self, latents, name):
        pixels = finite(self._pixels(latents), f"{name}: a row has no finite image")
        return quantize(pixels)
