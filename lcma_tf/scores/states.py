"""All measures of an image as one point, and how dense known images lie there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from lcma_tf.scores.measures import LOG_PROB

__all__ = ["States", "num_parts_for"]

_MAX_PARTS, _IMAGES_A_PART = 4, 250
_SMALLEST = 1e-4  # A variance, where those of the measures are 1: one may be the sum of others.


def num_parts_for(num_images: int) -> int:
    """The parts of a mixture fitted to so many images: four, or fewer for few."""
    return int(np.clip(num_images // _IMAGES_A_PART, 1, _MAX_PARTS))


@dataclasses.dataclass(frozen=True)
class States:
    """A small mixture of normal distributions over the measures of an image.

    `log_prob` is left out: it is the sum of others.

    Args:
        names: of the d measures.
        log_weights: float64 `[K]`, of the parts.
        means: float64 `[K, d]`.
        whitenings: float64 `[K, d, d]`: in part k `(measures - means[k]) @ whitenings[k]` is standard
            normal.
    """

    names: tuple[str, ...]
    log_weights: np.ndarray
    means: np.ndarray
    whitenings: np.ndarray

    @classmethod
    def of(cls, measures: Mapping[str, np.ndarray], num_parts: int | None = None) -> States:
        """Fitted to the measures `[n]` of known images.

        Args:
            measures: by name.
            num_parts: of the mixture; None = `num_parts_for` so many images. Who fits one to some of the
                images, to judge that of all of them, gives the number of all: densities under more
                parts are higher.
        """
        from sklearn.mixture import GaussianMixture  # A second, for those alone who fit one.

        names = tuple(name for name in measures if name != LOG_PROB)
        points = np.stack([np.asarray(measures[name], np.float64) for name in names], axis=1)
        mean, spread = points.mean(axis=0), points.std(axis=0)
        spread = np.maximum(spread, np.finfo(np.float32).eps * (1 + np.abs(mean)))
        mixture = GaussianMixture(
            n_components=num_parts or num_parts_for(len(points)),
            reg_covar=_SMALLEST,
            max_iter=500,
            random_state=0,
        )
        mixture.fit((points - mean) / spread)
        weights, means = np.asarray(mixture.weights_), np.asarray(mixture.means_)
        whitenings = np.asarray(mixture.precisions_cholesky_) / spread[:, None]
        return cls(names, np.log(weights), mean + spread * means, whitenings)

    def log_density(self, measures: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Of the measures float32 `[N]` of images: `[N]`, nats."""
        # In float64: measures are tens of thousands of nats, and their differences count.
        point = tf.stack([tf.cast(measures[name], tf.float64) for name in self.names], axis=1)
        white = tf.einsum("nkd,kde->nke", point[:, None] - self.means, self.whitenings)
        constants = self.log_weights + np.linalg.slogdet(self.whitenings)[1]
        constants = constants - len(self.names) / 2 * math.log(2 * math.pi)
        densities = constants - tf.reduce_sum(tf.square(white), axis=2) / 2
        return tf.cast(tf.reduce_logsumexp(densities, axis=1), tf.float32)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What is kept of it."""
        return {
            "states.names": np.array(self.names),
            "states.log_weights": self.log_weights,
            "states.means": self.means,
            "states.whitenings": self.whitenings,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> States:
        """The inverse of `to_arrays`.

        Raises:
            ValueError: they are no such distribution.
        """
        names = tuple(arrays["states.names"].tolist())
        columns = [arrays[f"states.{name}"] for name in ("log_weights", "means", "whitenings")]
        parts, size = len(columns[0]), len(names)
        shapes = [(parts,), (parts, size), (parts, size, size)]
        if [c.shape for c in columns] != shapes or not all(np.isfinite(c).all() for c in columns):
            raise ValueError("its distribution of states is none")
        return cls(names, *columns)
