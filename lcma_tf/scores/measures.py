"""What is measured of an image, in one pass through a flow and by a codec: what scores are made of."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from lcma_tf.config import FlowConfig
from lcma_tf.data import without_padding
from lcma_tf.factorization import Factorization
from lcma_tf.model.density import ImageDensity
from lcma_tf.traced import traced

__all__ = ["CODEC", "LOG_PROB", "Measures", "has_codec", "measure_names"]

LOG_PROB, CODEC, CODEC_HALF = "log_prob", "codec", "codec_half"
_PNG_CHANNELS = (1, 2, 3, 4)


class Measures:
    """The measures of images under a flow, in graphs; rows are independent.

    By name, in the order of `names`, float32 `[N]`:

    - `log_prob`: that of `FlowModel.log_prob` with `seed`, nats;
    - `latent_1` ... `latent_L`: log-density under N(0, 1) of the latents that leave the flow after each
      scale, nats; the last are those of the coarsest. Where nothing exits there is one;
    - `layer_1` ... `layer_K`: log-det of each flow layer, nats;
    - `codec`, `codec_half`: size of the picture as a PNG file, and of the picture at half its height and
      width as another, bits/dim of each, the frame of a padded one left out; for images of at most four
      channels. How much finer detail costs beside coarser is what blurring and compression change.

    Args:
        flow: scores with its inference statistics.
        factorization: of the flow.
        seed: of the dequantization noise, which is the same for every image.
    """

    def __init__(self, flow: ImageDensity, factorization: Factorization, seed: int = 0):
        self._flow = flow
        self._noise = flow.scoring_noise(seed)[0].numpy()
        scales = factorization.exit_scale().ravel()
        self._of_scale = scales[:, None] == np.arange(1, scales.max() + 1)
        config = flow.config
        self.names = measure_names(config, factorization)
        self._of_flow = [name for name in self.names if name not in (CODEC, CODEC_HALF)]
        width = len(self._of_flow) + math.prod(config.image_shape[:2])
        # One function for whatever is asked: a graph of several signatures has it once.
        self._row_and_map = traced(
            flow.by_rows(self._row_and_map_of, (width,), tf.float32),
            input_signature=[tf.TensorSpec([None, *config.image_shape], tf.uint8)],
        )

    def of(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The measures of uint8 `images` `[N, H, W, C]` by name."""
        return self.with_map(images)[0]

    def with_map(self, images: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """The measures, and what each pixel adds to `log_prob`, float32 `[N, H, W]`, nats; one pass.

        That is the log-density of the latents and the log-det terms of a pixel's dimensions, its
        channels together; latents and terms keep the layout of the data. They add up to `log_prob`.
        """
        both, row = self._row_and_map(images), len(self._of_flow)
        shape = self._flow.config.image_shape
        return self._named(images, both[:, :row]), tf.reshape(both[:, row:], [-1, *shape[:2]])

    def _named(self, images, rows) -> dict[str, tf.Tensor]:
        found = dict(zip(self._of_flow, tf.unstack(rows, axis=1), strict=True))
        if CODEC in self.names:
            shape = self._flow.config.original_shape or self._flow.config.image_shape
            pictures = without_padding(images, shape)
            found |= {
                CODEC: _png_bits_per_dim(pictures),
                CODEC_HALF: _png_bits_per_dim(_halved(pictures)),
            }
        return found

    def _row_and_map_of(self, images):
        latents, layers, pixels = self._flow.passes.latents_and_terms(images, self._noise)
        density = _log_normal(latents)
        parts = self._flow.passes.parts_of(latents, layers, pixels)
        by_scale = tf.matmul(
            tf.reshape(density, [-1, len(self._of_scale)]),
            tf.constant(self._of_scale, density.dtype),
        )
        nats = tf.reduce_sum(tf.add_n([density, *layers, pixels]), axis=-1)
        columns = [
            tf.reduce_sum(parts, axis=-1, keepdims=True),
            by_scale,
            # Without the pixel transform's, the last, which knows nothing of the flow.
            parts[:, 1:-1],
            tf.reshape(nats, [-1, math.prod(nats.shape[1:])]),
        ]
        return tf.cast(tf.concat(columns, axis=1), tf.float32)


def measure_names(config: FlowConfig, factorization: Factorization) -> list[str]:
    """The names of the measures of such a flow, in order."""
    return [
        LOG_PROB,
        *(f"latent_{scale}" for scale in range(1, factorization.exit_scale().max() + 1)),
        *(f"layer_{layer}" for layer in range(1, config.num_scales + 1)),
        *([CODEC, CODEC_HALF] if has_codec(config) else []),
    ]


def has_codec(config: FlowConfig) -> bool:
    """Whether a PNG file holds the images of a flow."""
    return config.image_shape[-1] in _PNG_CHANNELS and not config.real_valued


def _log_normal(latents):
    return -0.5 * (tf.square(latents) + math.log(2 * math.pi))


def _halved(images: tf.Tensor) -> tf.Tensor:
    """Means over blocks of 2x2 pixels, rounded."""
    means = tf.nn.avg_pool2d(tf.cast(images, tf.float32), 2, 2, "SAME")
    return tf.cast(tf.round(means), tf.uint8)


def _png_bits_per_dim(images: tf.Tensor) -> tf.Tensor:
    sizes = tf.strings.length(tf.io.encode_png(images))
    return tf.cast(sizes, tf.float32) * (8.0 / math.prod(images.shape[1:]))
